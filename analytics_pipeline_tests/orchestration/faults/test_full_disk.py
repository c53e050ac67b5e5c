"""The disk of the database server is full in the middle of a step: with room made, the automation does the rest."""

import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from analytics_pipeline_tests.orchestration.faults.own_server import OwnServer, own_server, why_not
from analytics_pipeline_tests.orchestration.faults.platform_run import Platform
from analytics_pipeline_tests.orchestration.faults.strikes import moments, striking

pytestmark = [pytest.mark.faults, pytest.mark.endurance]

_DISK_MEGABYTES = 600
_FILLED_SECONDS = 6


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A small disk for the data of the server."""
    if reason := why_not():
        pytest.skip(reason)
    disk = tmp_path_factory.mktemp("disk")
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_DISK_MEGABYTES}m", "tmpfs", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("only root can mount a small disk")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


@pytest.fixture(scope="module")
def server(disk: Path) -> Iterator[OwnServer]:
    yield from own_server(disk)


def _fill(disk: Path) -> None:
    with suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
        while True:
            os.posix_fallocate(filler.fileno(), filler.tell(), 2**16)
            filler.seek(0, os.SEEK_END)


def test_undisturbed_the_month_comes_to_its_end(platform: Platform, undisturbed: dict[str, object]) -> None:
    undisturbed |= platform.work_undisturbed()


@pytest.mark.parametrize("step", ["ingestion", "refresh", "report"])
def test_a_disk_that_is_full_in_the_middle_of_a_step_is_made_good(
    step: str, platform: Platform, server: OwnServer, disk: Path, undisturbed: dict[str, object]
) -> None:
    with platform.database.connect(autocommit=True) as connection:
        moment = moments(connection)[step]
    logged = len(server.log)

    def make_room_later() -> None:
        _fill(disk)
        threading.Timer(_FILLED_SECONDS, make_room).start()

    def make_room() -> None:
        (disk / "filler").unlink()
        # A server that could not write its log has ended.
        server.start()

    with striking(platform.database.url, moment, make_room_later):
        platform.work()
    assert "No space left on device" in server.log[logged:]
    platform.require_as(undisturbed)
