"""The engine under statements that are too much for it, and under clients that would keep it for ever."""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator

import psycopg
import pytest

from analytics_pipeline.embedded import EmbeddedTimescale
from analytics_pipeline_tests.embedded.conftest import Connect, MakeHome, kill_server, value
from analytics_pipeline_tests.embedded.wire import connect_raw, message, read_message, startup

pytestmark = pytest.mark.slow

RECURSIVE = (
    "CREATE OR REPLACE FUNCTION deep(n int) RETURNS int LANGUAGE plpgsql AS"
    " $$BEGIN IF n = 0 THEN RETURN 0; END IF; RETURN 1 + deep(n - 1); END$$"
)


def terms(count: int) -> str:
    return "SELECT " + "+".join(["1"] * count)


def json(depth: int) -> str:
    return f"SELECT length('{'[' * depth}{']' * depth}'::jsonb::text)"


# Recurses without asking how deep it is: only the stack of the machine ends it.
TRAP = f"SELECT '{'[' * 5_000_000}'::jsonb"


@pytest.fixture
def own(make_home: MakeHome) -> Iterator[Callable[..., EmbeddedTimescale]]:
    """Start servers with limits of the test's own."""
    started: list[EmbeddedTimescale] = []

    def start(**limits: float) -> EmbeddedTimescale:
        embedded = EmbeddedTimescale(make_home(), job_interval=3600, **limits)  # type: ignore[arg-type]
        embedded.start()
        started.append(embedded)
        return embedded

    yield start
    for embedded in started:
        embedded.stop()


def test_statements_of_a_usual_depth_run(connect: Connect) -> None:
    client = connect()
    client.execute(RECURSIVE)
    assert value(client, terms(300)) == 300
    assert value(client, json(2000)) == 4000
    assert value(client, "SELECT deep(50)") == 50
    assert value(client, f"SELECT count(*) FROM ({' UNION ALL '.join(['SELECT 1'] * 1000)}) x") == 1000


@pytest.mark.parametrize(
    "statement", [terms(30_000), json(200_000), "SELECT deep(20000)"], ids=["terms", "JSON", "PL/pgSQL"]
)
def test_deeper_ones_are_refused_by_postgresql(server: EmbeddedTimescale, connect: Connect, statement: str) -> None:
    pid = server.status().pid
    client = connect()
    client.execute(RECURSIVE)
    client.execute("CREATE TEMP TABLE still_here ()")
    with pytest.raises(psycopg.errors.StatementTooComplex, match="stack depth limit exceeded"):
        client.execute(statement)
    assert value(client, "SELECT count(*) FROM still_here") == 0
    assert server.status().pid == pid
    assert "engine has failed" not in server.log_file.read_text()


@pytest.mark.faults
def test_an_engine_that_traps_is_started_again_in_place(own: Callable[..., EmbeddedTimescale]) -> None:
    server = own()
    pid = server.status().pid
    with (
        psycopg.connect(server.url, autocommit=True) as bystander,
        psycopg.connect(server.url, autocommit=True) as keeper,
        psycopg.connect(server.url) as culprit,
    ):
        bystander.execute("CREATE TABLE kept AS SELECT 1 AS a")
        bystander.execute("SET work_mem = '5MB'")
        bystander.execute("PREPARE mine AS SELECT 'prepared'")
        bystander.execute("LISTEN news")
        keeper.execute("CREATE TEMP TABLE gone_with_it ()")
        culprit.execute("INSERT INTO kept VALUES (2)")
        with pytest.raises(psycopg.errors.CrashShutdown, match=r"the database engine has failed: .*\n.*started again"):
            culprit.execute(TRAP)
        # Who has lost nothing goes on; who has lost temporary tables learns it.
        assert value(bystander, "SELECT array_agg(a) FROM kept") == [1]
        assert value(bystander, "SHOW work_mem") == "5MB"
        assert value(bystander, "EXECUTE mine") == "prepared"
        with psycopg.connect(server.url, autocommit=True) as sender:
            sender.execute("NOTIFY news")
        assert [note.channel for note in bystander.notifies(timeout=5, stop_after=1)] == ["news"]
        with pytest.raises(psycopg.errors.CrashShutdown, match="your temporary tables"):
            keeper.execute("SELECT * FROM gone_with_it")
        assert value(bystander, "SELECT count(*) FROM pg_class WHERE relname = 'gone_with_it'") == 0
    assert server.status().pid == pid


@pytest.mark.faults
def test_no_transaction_takes_longer_than_the_limit(own: Callable[..., EmbeddedTimescale]) -> None:
    server = own(transaction_limit=2)
    with (
        psycopg.connect(server.url, application_name="busy") as busy,
        psycopg.connect(server.url) as endless,
        psycopg.connect(server.url, autocommit=True) as other,
    ):
        busy.execute("CREATE TABLE unfinished (a int)")

        def never_idle_and_never_done() -> None:
            for _ in range(1000):
                busy.execute("INSERT INTO unfinished VALUES (1)")
                time.sleep(0.05)

        with pytest.raises(psycopg.errors.TransactionTimeout, match="the transaction took longer than 2 s"):
            never_idle_and_never_done()
        assert value(other, "SELECT to_regclass('unfinished')") is None
        with pytest.raises(psycopg.errors.TransactionTimeout, match="the transaction took longer than 2 s"):
            endless.execute("SELECT count(*) FROM generate_series(1, 1000000000000)")
        assert value(other, "SELECT 1") == 1
    assert "client 1 (busy) is ended: the transaction took longer than 2 s" in server.log_file.read_text()


@pytest.mark.faults
def test_a_client_that_does_not_read_is_ended(own: Callable[..., EmbeddedTimescale]) -> None:
    server = own(idle_in_transaction=1)
    with connect_raw(server) as deaf, psycopg.connect(server.url, autocommit=True) as other:
        deaf.sendall(startup(application_name="deaf"))
        while (read_message(deaf) or (b"Z",))[0] != b"Z":
            pass
        deaf.sendall(message(b"Q", b"SELECT repeat('x', 1000) FROM generate_series(1, 50000)\0"))
        assert value(other, "SELECT 1") == 1
    assert "(deaf) is ended: it does not read what it is sent" in server.log_file.read_text()


@pytest.mark.faults
def test_who_waits_for_long_finds_in_the_log_for_whom(server: EmbeddedTimescale, connect: Connect) -> None:
    holder, waiter = connect(autocommit=False, application_name="holder"), connect(application_name="waiter")
    holder.execute("SELECT 'held'")
    thread = threading.Thread(target=lambda: value(waiter, "SELECT 1"))
    thread.start()
    deadline = time.monotonic() + 20
    while "(waiter) has waited" not in (log := server.log_file.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    holder.rollback()
    thread.join(20)
    line = next(line for line in log.splitlines() if "(waiter) has waited" in line)
    assert "(holder), which has had the database for" in line
    assert line.endswith("after: SELECT 'held'")


@pytest.mark.faults
def test_committed_rows_survive_every_kill_and_trap(own: Callable[..., EmbeddedTimescale]) -> None:
    """Three writers, and an engine that ends under them again and again: killed, trapped, with its process."""
    server = own(start_timeout=60)
    rounds = int(os.environ.get("EMBEDDED_CRASHES", "2"))
    with psycopg.connect(server.url, autocommit=True) as admin:
        admin.execute("CREATE TABLE written (writer int, serial int, PRIMARY KEY (writer, serial))")
    acknowledged: dict[int, list[int]] = {writer: [] for writer in range(3)}
    done = threading.Event()

    def write(writer: int) -> None:
        serial = 0
        while not done.is_set():
            with contextlib.suppress(psycopg.OperationalError), psycopg.connect(server.url, autocommit=True) as client:
                while not done.is_set():
                    serial += 1
                    client.execute("INSERT INTO written VALUES (%s, %s)", (writer, serial))
                    acknowledged[writer].append(serial)
            time.sleep(0.02)

    writers = [threading.Thread(target=write, args=(writer,)) for writer in acknowledged]
    for thread in writers:
        thread.start()
    try:
        for turn in range(rounds):
            time.sleep(0.5)
            if turn % 2:
                kill_server(server)
                server.start()
            else:
                with contextlib.suppress(psycopg.OperationalError), psycopg.connect(server.url) as culprit:
                    culprit.execute(TRAP)
    finally:
        time.sleep(0.5)
        done.set()
        for thread in writers:
            thread.join(60)
    with psycopg.connect(server.url) as admin:
        for writer, serials in acknowledged.items():
            found = {row[0] for row in admin.execute("SELECT serial FROM written WHERE writer = %s", [writer])}
            assert serials
            assert set(serials) - found == set(), "an acknowledged commit is lost"
            assert len(found) - len(serials) <= rounds, "more than the commits whose answer was lost"
