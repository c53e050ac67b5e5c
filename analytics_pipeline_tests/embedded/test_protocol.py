"""Clients that send what they shouldn't, or nothing, or too much: it is their own end and nobody else notices."""

import os
import random
import resource
import socket
import struct
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from psycopg import pq

from analytics_pipeline.embedded import EmbeddedTimescale
from analytics_pipeline_tests.embedded.conftest import Connect, MakeHome, value
from analytics_pipeline_tests.embedded.wire import (
    SASL,
    STATEMENTS,
    connect_raw,
    everything,
    last_words,
    log_in,
    message,
    read_message,
    spoil,
    startup,
)
from analytics_pipeline_tests.ports import free_port

pytestmark = pytest.mark.slow

# The usual run makes do with a sample; ten thousand and three thousand are for a night.
FUZZED = int(os.environ.get("EMBEDDED_FUZZ_CONNECTIONS", "1000"))
FLOOD = int(os.environ.get("EMBEDDED_FLOOD_CONNECTIONS", "300"))

BEFORE_LOGIN = {
    "a length and nothing": b"\0\0\0\4",
    "length 6": b"\0\0\0\6\0\3",
    "length 0": b"\0\0\0\0",
    "HTTP": b"GET / HTTP/1.1\r\n\r\n",
    "protocol 0.1": b"\0\0\0\x08\0\0\0\x01",
    "no end": message(b"", struct.pack("!I", 196608) + b"user\0postgres"),
    "a name without value": message(b"", struct.pack("!I", 196608) + b"user\0\0"),
    "bytes behind its end": message(b"", struct.pack("!I", 196608) + b"user\0postgres\0\0more"),
    "a cancel request without its key": message(b"", struct.pack("!II", 80877102, 1)),
    "a cancel request with a key that is too long": message(b"", struct.pack("!IIQ", 80877102, 1, 1)),
    "an option that is none": startup(options="-c"),
    "9 KiB": struct.pack("!I", 9000),
    "more than 8 KiB of questions": message(b"", struct.pack("!I", 80877103)) * 2000,
}
AFTER_LOGIN = {
    "a length of 3": b"Q\0\0\0\3",
    "an unknown type": message(b"z"),
    "an answer to no question": SASL,
    "Query without NUL": message(b"Q", b"SELECT 1"),
    "Query with two": message(b"Q", b"SELECT 1\0SELECT 2\0"),
    "Query with nothing": message(b"Q"),
    "Parse without NUL": message(b"P", b"one"),
    "Parse with one NUL": message(b"P", b"one\0SELECT 1"),
    "Parse without types": message(b"P", b"one\0SELECT 1\0"),
    "Parse with fewer types than it says": message(b"P", b"one\0SELECT 1\0\0\2\0\0\0\x17"),
    "Bind with nothing": message(b"B"),
    "Bind without NULs": message(b"B", b"portal"),
    "Bind with one NUL": message(b"B", b"portal\0one"),
    "Bind without parameters": message(b"B", b"\0\0"),
    "Bind with a length of -2": message(b"B", b"\0\0\0\0\0\1\xff\xff\xff\xfe\0\0"),
    "Bind with a length beyond its end": message(b"B", b"\0\0\0\0\0\1\x7f\xff\xff\xff\0\0"),
    "Describe with nothing": message(b"D"),
    "Describe without NUL": message(b"D", b"Sone"),
    "Describe of nothing there is": message(b"D", b"Xone\0"),
    "Close with nothing": message(b"C"),
    "Close without NUL": message(b"C", b"Pone"),
    "Execute without a number": message(b"E", b"\0"),
    "Sync with something": message(b"S", b"x"),
    "FunctionCall with nothing": message(b"F"),
    "FunctionCall with fewer values than it says": message(b"F", struct.pack("!IHH", 1598, 0, 3)),
}


@pytest.fixture(scope="module")
def open_to_all(make_home: MakeHome) -> Iterator[EmbeddedTimescale]:
    """A server that listens on TCP too, where it does not wait long for a log-in."""
    embedded = EmbeddedTimescale(
        make_home(), tcp_port=free_port(), login_timeout=1, idle_in_transaction=30, job_interval=3600
    )
    embedded.start(tcp=True)
    yield embedded
    embedded.stop()


def tcp_connect(embedded: EmbeddedTimescale) -> socket.socket:
    port = psycopg.conninfo.conninfo_to_dict(embedded.tcp_url)["port"]
    return socket.create_connection(("127.0.0.1", int(str(port))), timeout=20)


@pytest.mark.parametrize("said", BEFORE_LOGIN.values(), ids=BEFORE_LOGIN)
def test_a_malformed_start_ends_its_client_alone(server: EmbeddedTimescale, said: bytes) -> None:
    pid = server.status().pid
    with connect_raw(server) as client:
        client.sendall(said)
        assert b"\0VFATAL\0" in everything(client)
    with psycopg.connect(server.url) as other:
        assert value(other, "SELECT 1") == 1
    assert server.status().pid == pid


def test_a_malformed_message_ends_its_client_alone(server: EmbeddedTimescale, connect: Connect) -> None:
    pid = server.status().pid
    other = connect()
    other.execute("SET work_mem = '5MB'")
    for what, said in AFTER_LOGIN.items():
        with log_in(server) as client:
            # What it sends behind it is not run.
            client.sendall(said + message(b"Q", b"CREATE TABLE smuggled ()\0"))
            words = last_words(client)
            assert (words.get("S"), words.get("C")) == ("FATAL", "08P01"), what
    assert value(other, "SHOW work_mem") == "5MB"
    assert value(other, "SELECT to_regclass('smuggled')") is None
    assert server.status().pid == pid


def test_a_request_to_cancel_with_another_key_changes_nothing(server: EmbeddedTimescale, connect: Connect) -> None:
    holder, waiter = connect(autocommit=False), connect()
    pid = waiter.info.backend_pid
    value(holder, "SELECT 1")
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(value, waiter, "SELECT 'its turn'")
        deadline = time.monotonic() + 20
        while not server.status().waiting:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        for key in (0, 2**32 - 1):
            with connect_raw(server) as stranger:
                stranger.sendall(message(b"", struct.pack("!III", 80877102, pid, key)))
                assert everything(stranger) == b""
        holder.rollback()
        assert answer.result(20) == "its turn"


@pytest.mark.fuzz
def test_fuzzed_connections_end_nobody_else(open_to_all: EmbeddedTimescale) -> None:
    status = open_to_all.status()
    chance = random.Random(19)  # noqa: S311 - repeatable, not secret
    with psycopg.connect(open_to_all.url, autocommit=True) as other:
        other.execute("CREATE TABLE IF NOT EXISTS untouched AS SELECT 1 AS a; SET work_mem = '5MB'")
        for number in range(FUZZED):
            kind = number % 4
            with (tcp_connect if kind == 1 else log_in if kind > 1 else connect_raw)(open_to_all) as client:
                messages = [startup()] if kind == 0 else [startup(), SASL] if kind == 1 else chance.choice(STATEMENTS)
                client.sendall(spoil(chance, messages))
                client.shutdown(socket.SHUT_WR)
                last_words(client)
            if number % 50 == 0:
                assert value(other, "SELECT a FROM untouched") == 1
        assert value(other, "SHOW work_mem") == "5MB"
    assert open_to_all.status().pid == status.pid
    assert "engine has failed" not in open_to_all.log_file.read_text()


@pytest.mark.faults
def test_who_does_not_log_in_is_let_go(open_to_all: EmbeddedTimescale) -> None:
    with tcp_connect(open_to_all) as silent, tcp_connect(open_to_all) as halfway, connect_raw(open_to_all) as local:
        halfway.sendall(startup())
        assert read_message(halfway) is not None
        for client in (silent, halfway, local):
            assert last_words(client)["M"] == "terminating connection: no log-in within 1 s"


@pytest.mark.faults
def test_strangers_take_neither_places_nor_memory(open_to_all: EmbeddedTimescale) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    pid = open_to_all.status().pid
    with psycopg.connect(open_to_all.url, autocommit=True) as owner:
        value(owner, "SELECT 1")
        before = resident_bytes(pid)
        strangers = [tcp_connect(open_to_all) for _ in range(FLOOD)]
        try:
            for stranger in strangers:
                # 256 MiB announced, and as much of it as the other side takes.
                stranger.settimeout(0)
                try:
                    stranger.send(startup() + b"p" + struct.pack("!I", 2**28) + bytes(200_000))
                except OSError:
                    continue
            assert value(owner, "SELECT 1") == 1
            with psycopg.connect(open_to_all.url) as local:
                assert value(local, "SELECT 1") == 1
            with psycopg.connect(open_to_all.tcp_url) as remote:
                assert value(remote, "SELECT 1") == 1
            grown = resident_bytes(pid) - before
        finally:
            for stranger in strangers:
                stranger.close()
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert grown < 150 * 2**20, f"{before / 2**20:.0f} MB before, {grown / 2**20:+.0f} MB with {FLOOD} connections"
    assert open_to_all.status().pid == pid


def test_places_are_kept_for_the_socket(open_to_all: EmbeddedTimescale) -> None:
    remote = [psycopg.connect(open_to_all.tcp_url) for _ in range(100)]
    try:
        with pytest.raises(psycopg.OperationalError, match="too many clients"):
            psycopg.connect(open_to_all.tcp_url)
        with psycopg.connect(open_to_all.url) as local:
            assert value(local, "SELECT 1") == 1
    finally:
        for connection in remote:
            connection.close()


def test_a_message_that_is_too_large_is_refused_with_a_reason(connect: Connect) -> None:
    client, other = connect(), connect()
    # libpq itself, blocking: otherwise it moves all that is left to send with every piece, which takes a minute.
    client.pgconn.nonblocking = 0
    client.pgconn.send_query_params(b"SELECT length($1)", [b"x" * 300_000_000])
    result = client.pgconn.get_result()
    assert result
    assert result.error_field(pq.DiagnosticField.SQLSTATE) == b"54000"
    assert "larger than the 268435456 that" in result.get_error_message()
    assert "smaller batches" in result.get_error_message()
    assert value(other, "SELECT 1") == 1


def resident_bytes(pid: int | None) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


def test_messages_without_a_sync_are_run_as_they_come(server: EmbeddedTimescale) -> None:
    text = b"SELECT '" + b"x" * 1_000_000 + b"'"
    with log_in(server) as client:
        for _ in range(10):
            client.sendall(message(b"P", b"\0" + text + b"\0\0\0"))
        assert read_message(client) == (b"1", b"")
        client.sendall(message(b"B", b"\0\0\0\0\0\0\0\0") + message(b"E", b"\0\0\0\0\0") + message(b"S"))
        kinds: list[bytes] = []
        while kinds[-1:] != [b"Z"]:
            found = read_message(client)
            assert found is not None
            kinds.append(found[0])
        assert kinds == [b"1"] * 9 + [b"2", b"D", b"C", b"Z"]
