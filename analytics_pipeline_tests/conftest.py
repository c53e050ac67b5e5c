"""One real TimescaleDB for the tests: the embedded one, or the server of ANALYTICS_DATABASE_URL.

Every test that asks for a database gets one that holds nothing of any other test.
"""

import gc
import os
import shutil
import signal
import sys
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from hypothesis import is_hypothesis_test
from xdist.scheduler import LoadScopeScheduling

from analytics_pipeline.database import connect
from analytics_pipeline.settings import Settings, get_settings
from analytics_pipeline.timescale.waiting import WatchedConnection
from analytics_pipeline_tests.databases import MIGRATED_WITH, EmbeddedDatabases, Kind, Originals, ServerDatabases
from analytics_pipeline_tests.ports import free_port

SERVER_URL = os.environ.get("ANALYTICS_DATABASE_URL")
# The variable that names the folder of what the databases of all processes of a run are copies of.
ORIGINALS = "EMBEDDED_ORIGINALS"

# Packages with fixtures that live as long as the package, and take seconds to be made.
TOGETHER = frozenset({"alerts", "api", "dashboard", "embedded", "sample"})


@dataclass(frozen=True)
class Database:
    """A clean, migrated database, and the settings that lead to it."""

    url: str
    settings: Settings

    def connect(self, *, autocommit: bool = False) -> WatchedConnection:
        return connect(self.settings, autocommit=autocommit)


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Have the command on the PATH, so that it is printed by its name, and take interrupts as usual where a shell that
    runs the tests in the background has them ignored.

    Dagster gives SIGTERM the handler of SIGINT: ignored too, each step of a run waits half a minute for its children.
    """
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if not hasattr(config, "workerinput"):
        # Inherited by the workers, and where pytest itself clears away what killed runs have left.
        base: Path = config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
        os.environ[ORIGINALS] = str(base / "originals")
        config.add_cleanup(_remove_originals)
        if SERVER_URL is None and config.getoption("numprocesses", None):
            # While the workers collect: each of them waits for it then.
            making = Thread(target=_make_originals)
            making.start()
            config.add_cleanup(making.join)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling | None:
    return _ByModule(config, log) if config.getoption("dist") == "loadscope" else None


class _ByModule(LoadScopeScheduling):  # type: ignore[misc]
    """Gives a worker a module, or a package: the tests that share a fixture find it made."""

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        package = module.split("/")[1]
        return package if package in TOGETHER else module


def _make_originals() -> None:
    # Who needs them makes them, where this failed, and says why it can't.
    with suppress(Exception):
        for kind in Kind:
            _originals().make(kind)


def _remove_originals() -> None:
    shutil.rmtree(os.environ.pop(ORIGINALS), ignore_errors=True)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect garbage neither meanwhile nor what comes of it ever after: it is there as long as the run lasts."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what tries generated input, and begin with what runs whole programs.

    Such modules take longest: one of them at the end would be waited for alone.
    """
    for item in items:
        if isinstance(item, pytest.Function) and is_hypothesis_test(item.obj):
            item.add_marker(pytest.mark.fuzz)
    long = {item.path for item in items if item.get_closest_marker("daemon")}
    items.sort(key=lambda item: item.path not in long)


@pytest.fixture(scope="session")
def embedded_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home of the session's embedded database, which is stopped in the end."""
    home = tmp_path_factory.mktemp("home")
    yield home
    _databases(home).close()


@pytest.fixture
def empty_database_url(request: pytest.FixtureRequest, embedded_home: Path) -> Iterator[str]:
    """The URL of a database without our schema; of a migrated one where the test takes ``database`` too."""
    kind = Kind.MIGRATED if "database" in request.fixturenames else Kind.EMPTY
    with _databases(embedded_home).make(kind) as url:
        yield url


def empty_database(embedded_home: Path) -> AbstractContextManager[str]:
    """Make a database without our schema and give its URL; on the embedded server there is only one."""
    return _databases(embedded_home).make(Kind.EMPTY)


@contextmanager
def migrated_database(embedded_home: Path, folder: Path) -> Iterator[Database]:
    """Make a migrated database, and point the settings at it; on the embedded server there is only one."""
    with pytest.MonkeyPatch.context() as environment, _databases(embedded_home).make(Kind.MIGRATED) as url:
        set_environment(environment, url, embedded_home, folder)
        yield Database(url, get_settings())
    get_settings.cache_clear()


@cache
def _databases(embedded_home: Path) -> EmbeddedDatabases | ServerDatabases:
    return EmbeddedDatabases(embedded_home, _originals()) if SERVER_URL is None else ServerDatabases(SERVER_URL)


def _originals() -> Originals:
    return Originals(Path(os.environ[ORIGINALS]))


@pytest.fixture
def port() -> int:
    """A port of this machine of which, and of the three after it, nobody listened a moment ago."""
    return free_port()


@pytest.fixture
def environment(
    empty_database_url: str, embedded_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[pytest.MonkeyPatch]:
    """The settings' environment, pointing at the test's database; a test may set more before it migrates one."""
    set_environment(monkeypatch, empty_database_url, embedded_home, tmp_path)
    yield monkeypatch
    get_settings.cache_clear()


def set_environment(monkeypatch: pytest.MonkeyPatch, url: str, embedded_home: Path, folder: Path) -> None:
    """Point the settings at a database; nothing of the surrounding environment remains."""
    for name in [n for n in os.environ if n.startswith("ANALYTICS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ANALYTICS_HOME", str(embedded_home))
    monkeypatch.setenv("ANALYTICS_DATABASE_URL", url)
    monkeypatch.setenv("ANALYTICS_ARTIFACTS", str(folder / "artifacts"))
    monkeypatch.setenv("ANALYTICS_RETENTION", "never")
    get_settings.cache_clear()


@pytest.fixture
def database(environment: pytest.MonkeyPatch, empty_database_url: str) -> Database:
    """A migrated database without events."""
    settings = get_settings()
    wanted = settings.model_dump(include=set(MIGRATED_WITH))
    assert wanted == MIGRATED_WITH, "the database is migrated already: change its settings later, and migrate again"
    return Database(empty_database_url, settings)
