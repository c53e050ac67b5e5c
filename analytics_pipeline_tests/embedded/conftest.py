"""Real servers and real clients: one server per module, and helpers to talk to it."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from analytics_pipeline.embedded import EmbeddedTimescale

Connect = Callable[..., "psycopg.Connection[Any]"]
MakeHome = Callable[..., Path]

MIGRATIONS = Path(__file__).parents[2] / "sql" / "migrations"


@pytest.fixture(scope="session")
def make_home(tmp_path_factory: pytest.TempPathFactory) -> MakeHome:
    """Make homes in which a server has been, new ones or at the path that is given.

    Making one takes longer than copying it.
    """
    first = EmbeddedTimescale(tmp_path_factory.mktemp("first"))
    first.start()
    first.stop()

    def make(home: Path | None = None) -> Path:
        home = home or tmp_path_factory.mktemp("home")
        shutil.copytree(first.data_dir, home / "timescaledb" / "data")
        return home

    return make


@pytest.fixture(scope="module")
def server(make_home: MakeHome) -> Iterator[EmbeddedTimescale]:
    """A running server; jobs run when a test asks for them only."""
    embedded = EmbeddedTimescale(make_home(), idle_in_transaction=30, job_interval=3600)
    embedded.start()
    yield embedded
    embedded.stop()


@pytest.fixture
def connect(server: EmbeddedTimescale) -> Iterator[Connect]:
    """Open connections that are closed after the test."""
    opened: list[psycopg.Connection[Any]] = []

    def _connect(**options: Any) -> "psycopg.Connection[Any]":
        connection = psycopg.connect(server.url, **{"autocommit": True, "prepare_threshold": None} | options)
        opened.append(connection)
        return connection

    yield _connect
    for connection in opened:
        connection.close()


def value(connection: "psycopg.Connection[Any]", sql: str, *parameters: Any) -> Any:
    """The only value of a query."""
    row = connection.execute(sql, parameters or None).fetchone()
    assert row is not None
    return row[0]


def run_python(code: str, *arguments: str) -> "subprocess.Popen[str]":
    """Start a Python process that prints a line when it is where the test wants it."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


def kill(process: "subprocess.Popen[str]") -> None:
    """End a process the hard way."""
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    assert process.stdout is not None
    process.stdout.close()


def kill_server(embedded: EmbeddedTimescale) -> None:
    """End a server's process the hard way."""
    pid = embedded.status().pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while embedded.status().pid is not None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
