"""Requests per second of the revenue answer over HTTP, next to the same call through psycopg; and of a 304.

The limit of the answer is revenue_answer() over a pool of connections as large as the API's, without HTTP, one thread a
client; that of the 304 a FastAPI application whose only route returns one. Either is measured in turns with ours, in
processes of their own, with 1, 10 and 50 clients that ask again as soon as they are answered.

Run it on a server: ANALYTICS_DATABASE_URL=postgresql://... python benchmarks/api.py [--events N] [--again]
A database is made there and dropped again; what was measured before is kept in benchmarks/results.
"""

import argparse
import asyncio
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from statistics import median, quantiles

import psycopg
from _database import database, server_url
from _history import close, fill
from _results import Results
from psycopg_pool import ConnectionPool

from analytics_pipeline.api.scopes import Scope
from analytics_pipeline.api.tokens import create_token
from analytics_pipeline.database import connect
from analytics_pipeline.metrics.answers import revenue_answer
from analytics_pipeline.windows import Window

CLIENTS = (1, 10, 50)
POOL_SIZE = 10
SECONDS = 5.0
COMPANY = "company-7"
MONTH = Window.of_dates(date(2025, 10, 1), date(2025, 10, 31))
PATH = f"/analytics/revenue?startDate={MONTH.start:%F}&endDate={MONTH.last_day}"
_BARE = """
from fastapi import FastAPI, Response
import uvicorn
app = FastAPI()

@app.get("/analytics/revenue")
async def revenue() -> Response:
    return Response(status_code=304, headers={"ETag": 'W/"x"'})

uvicorn.run(app, port=%d, access_log=False, log_level="error")
"""

Times = list[float]
Load = Callable[[int], Times]


def main() -> None:
    """Measure every line that has not been measured, and print all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, nargs="+", default=[1_000_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--again", action="store_true", help="Measure again what was measured before.")
    arguments = parser.parse_args()
    server = server_url()
    results = Results("api", again=arguments.again)
    print("   ratio (of seconds a request)")
    for events in arguments.events:
        measure(server, events, results, arguments.rounds)


def measure(server: str, events: int, results: Results, rounds: int) -> None:
    """Measure the answers over one size of history, and the 304."""
    with database(server), connect(autocommit=True) as connection:
        fill(connection, events, subscriptions=events // 50)
        close(connection)
        connection.execute("VACUUM ANALYZE")
        _, token = create_token(connection, "benchmark", COMPANY, [Scope.FIGURES], timedelta(days=1))
        with serving() as port, bare() as bare_port, pool() as connections:
            etag = first_etag(port, token)
            lines: list[tuple[str, Load, Load]] = [
                ("revenue of a month", over_http(port, token), over_psycopg(connections)),
                ("revenue of a month, 304", over_http(port, token, etag), over_http(bare_port, token, etag)),
            ]
            for name, ours, limit in lines:
                for clients in CLIENTS:
                    compare(results, f"{name}, {clients} clients, {events:,} events", ours, limit, clients, rounds)


def compare(results: Results, line: str, ours: Load, limit: Load, clients: int, rounds: int) -> None:
    """Run both in turns, once before they count, and keep and print requests per second, p50 and p99 of each."""
    if not results.has(line):
        ours(clients)
        limit(clients)
        pairs = [(ours(clients), limit(clients)) for _ in range(rounds)]
        found = {"ours": [pair[0] for pair in pairs], "limit": [pair[1] for pair in pairs]}
        parts = {
            f"{whose}_{name}": median(figure(times) for times in every)
            for whose, every in found.items()
            for name, figure in (("per_second", per_second), ("p50_ms", p50), ("p99_ms", p99))
        }
        results.keep(line, 1 / parts["ours_per_second"], 1 / parts["limit_per_second"], **parts)
    results.show(line)


def per_second(times: Times) -> float:
    """Return how many requests a second these were, which took SECONDS together."""
    return len(times) / SECONDS


def p50(times: Times) -> float:
    """Return the median in milliseconds."""
    return median(times) * 1000


def p99(times: Times) -> float:
    """Return the 99th percentile in milliseconds."""
    return quantiles(times, n=100)[98] * 1000


def over_http(port: int, token: str, etag: str | None = None) -> Load:
    """Return what asks for the answer over HTTP, each client over a connection of its own that it keeps."""
    condition = f"If-None-Match: {etag}\r\n" if etag else ""
    request = f"GET {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n{condition}\r\n".encode()
    expected = b"304" if etag else b"200"

    async def client(until: float, times: Times) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while (started := time.perf_counter()) < until:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head[9:12] == expected, head
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            if length and not etag:
                await reader.readexactly(int(length))
            times.append(time.perf_counter() - started)
        writer.close()

    def load(clients: int) -> Times:
        times: Times = []

        async def all_of_them() -> None:
            until = time.perf_counter() + SECONDS
            await asyncio.gather(*(client(until, times) for _ in range(clients)))

        asyncio.run(all_of_them())
        return times

    return load


def over_psycopg(connections: "ConnectionPool[psycopg.Connection]") -> Load:
    """Return what calls the function for the answer, each client a thread."""

    def client(until: float, times: Times) -> None:
        while (started := time.perf_counter()) < until:
            with connections.connection() as connection:
                revenue_answer(connection, COMPANY, MONTH, "EUR")
            times.append(time.perf_counter() - started)

    def load(clients: int) -> Times:
        times: Times = []
        until = time.perf_counter() + SECONDS
        threads = [threading.Thread(target=client, args=(until, times)) for _ in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return times

    return load


@contextmanager
def pool() -> "Iterator[ConnectionPool[psycopg.Connection]]":
    """Connect as often as the API does."""
    arguments = {"autocommit": True, "prepare_threshold": None}
    url = os.environ["ANALYTICS_DATABASE_URL"]
    with ConnectionPool(url, min_size=POOL_SIZE, max_size=POOL_SIZE, kwargs=arguments) as connections:
        connections.wait()
        yield connections


@contextmanager
def serving() -> Iterator[int]:
    """Run the API in a process of its own, without a limit of requests, and give its port."""
    port = free_port()
    command = [sys.executable, "-m", "analytics_pipeline", "serve", "--port", str(port)]
    environment = {**os.environ, "ANALYTICS_API_RATE": "0", "ANALYTICS_API_POOL_SIZE": str(POOL_SIZE)}
    with running(command, environment, port):
        yield port


@contextmanager
def bare() -> Iterator[int]:
    """Run an application that answers 304 to whatever is asked, and give its port."""
    port = free_port()
    with running([sys.executable, "-c", _BARE % port], dict(os.environ), port):
        yield port


@contextmanager
def running(command: list[str], environment: dict[str, str], port: int) -> Iterator[None]:
    """Run a server until the block ends."""
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                assert process.poll() is None, f"{command} has ended"
                time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait()


def first_etag(port: int, token: str) -> str:
    """Return the ETag of the answer."""

    async def ask() -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        writer.close()
        return head.partition(b"etag: ")[2].partition(b"\r\n")[0].decode()

    return asyncio.run(ask())


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


if __name__ == "__main__":
    main()
