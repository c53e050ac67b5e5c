"""Live clients of a running API: how late a new event shows up, and what a client costs in memory.

Run it on a server: ANALYTICS_DATABASE_URL=postgresql://... python benchmarks/live.py [--clients 500] [--seconds 300]
A database is made there and dropped again. Every second an event is recorded, of one company after the other, and each
client of that company says when the figures with it came in. Memory and processor time are those of the API's process.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from statistics import quantiles
from time import monotonic, sleep
from urllib.error import URLError
from urllib.request import urlopen

from _database import database, server_url
from _history import fill
from _results import FOLDER
from websockets.asyncio.client import ClientConnection, connect

from analytics_pipeline.api.auth import Scope
from analytics_pipeline.api.tokens import create_token
from analytics_pipeline.database import connect as connect_database
from analytics_pipeline.events.record import record_event
from analytics_pipeline.timescale.connection import Connection

HOST = "127.0.0.1:8799"


class Delays:
    """When the newest event of each company was recorded, and how long after it the clients had the figures."""

    def __init__(self) -> None:
        """Begin with none."""
        self.recorded: dict[str, tuple[int, float]] = {}
        self.seconds: list[float] = []
        self.messages = 0

    def note(self, company: str, events: int) -> None:
        """Take in that a client has been shown more events of today than before."""
        expected, at = self.recorded.get(company, (0, 0.0))
        if events == expected:
            self.seconds.append(monotonic() - at)


def main() -> None:
    """Measure, and print and keep what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--companies", type=int, default=10)
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--events", type=int, default=1_000_000, help="A year of so many stored before.")
    arguments = parser.parse_args()
    with database(server_url()), connect_database(autocommit=True) as connection:
        fill(connection, arguments.events, subscriptions=arguments.events // 100)
        companies = [f"company-{number}" for number in range(arguments.companies)]
        tokens = {
            company: create_token(connection, "benchmark", company, [Scope.FIGURES], timedelta(hours=1))[1]
            for company in companies
        }
        command = [sys.executable, "-m", "analytics_pipeline", "serve", "--port", HOST.rpartition(":")[2]]
        with subprocess.Popen(command, env={**os.environ}) as process:
            try:
                _wait_for_server()
                found = asyncio.run(_measure(connection, process.pid, tokens, arguments.clients, arguments.seconds))
            finally:
                process.terminate()
    for name, value in found.items():
        print(f"{value:12,.3f}   {name}")
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "live.json").write_text(json.dumps(found, indent=2) + "\n")


def _wait_for_server() -> None:
    for _ in range(300):
        try:
            with urlopen(f"http://{HOST}/readyz"):  # our own
                return
        except (URLError, OSError):
            sleep(0.1)
    raise SystemExit("The API did not come up.")


async def _measure(
    connection: Connection, process: int, tokens: dict[str, str], clients: int, seconds: int
) -> dict[str, float]:
    delays = Delays()
    companies = list(tokens)
    async with AsyncExitStack() as stack:
        # What the first client of each company has read is no cost of the others.
        await _listen(stack, delays, tokens, companies)
        await asyncio.sleep(5)
        before = _memory(process)
        await _listen(stack, delays, tokens, [companies[n % len(companies)] for n in range(clients - len(companies))])
        await asyncio.sleep(5)
        connected = _memory(process)
        processor = _processor_seconds(process)
        delays.messages = 0
        ends = monotonic() + seconds
        number = 0
        while monotonic() < ends:
            company = companies[number % len(companies)]
            events = delays.recorded.get(company, (0, 0.0))[0] + 1
            await asyncio.to_thread(_record, connection, company)
            delays.recorded[company] = (events, monotonic())
            number += 1
            await asyncio.sleep(1)
        after = _memory(process)
        processor = _processor_seconds(process) - processor
    of_hundred = quantiles(delays.seconds, n=100)
    return {
        "clients": clients,
        "seconds": seconds,
        "events recorded": number,
        "messages received": delays.messages,
        "seconds from the event to the client, half of them within": of_hundred[49],
        "seconds from the event to the client, 99 of 100 within": of_hundred[98],
        "seconds from the event to the client, all within": max(delays.seconds),
        "megabytes of the API with a client of each company": before,
        "megabytes of the API with all clients": connected,
        "megabytes of the API in the end": after,
        "kilobytes for a client": (after - before) * 1000 / (clients - len(companies)),
        "processor seconds of the API a minute": processor * 60 / seconds,
    }


async def _listen(stack: AsyncExitStack, delays: Delays, tokens: dict[str, str], companies: list[str]) -> None:
    for company in companies:
        protocols = ["analytics.live.v1", f"bearer.{tokens[company]}"]
        socket = await stack.enter_async_context(
            connect(f"ws://{HOST}/analytics/live", subprotocols=protocols, compression=None)  # type: ignore[arg-type]
        )
        task = asyncio.create_task(_receive(socket, delays))
        stack.callback(task.cancel)


async def _receive(socket: ClientConnection, delays: Delays) -> None:
    seen = 0
    async for text in socket:
        message = json.loads(text)
        if message["type"] == "figures":
            delays.messages += 1
            events = message["today"]["events"]
            if events > seen:
                delays.note(message["companyId"], events)
            seen = events


def _record(connection: Connection, company: str) -> None:
    record_event(company, "user-1", "payment.received", "revenue", 5, "EUR", connection=connection)


def _memory(process: int) -> float:
    """Return the resident memory of a process in megabytes."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1000
    raise ProcessLookupError(process)


def _processor_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
