"""Copies of the embedded TimescaleDB: its data directory in one packed file, made while the server runs.

The server has one session, and nothing works behind it: a checkpoint within a transaction writes out all that is
committed, and until that transaction ends nothing changes on the disk. Other clients wait meanwhile.
"""

import gzip
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from analytics_pipeline.embedded import EmbeddedTimescale
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.operations.places import HashedFile
from analytics_pipeline.timescale.connection import Connection

DATA = "timescaledb.tar.gz"
_ROOT = "data"
# The server ends a client that does nothing within its transaction for five minutes.
_SIGN_OF_LIFE_SECONDS = 30.0
# What belongs to the process that runs, not to the data.
_OF_THE_PROCESS = ("postmaster.pid", "postmaster.opts")
_NEVER_SECONDS = 86_400.0


def copy_data(connection: Connection, data_dir: Path, file: HashedFile, say: Callable[[str], None]) -> None:
    """Write the data directory into a file, within a transaction of the caller's."""
    connection.execute("CHECKPOINT")
    files = sorted(path for path in data_dir.rglob("*") if path.name not in _OF_THE_PROCESS)
    alive = time.monotonic()
    with (
        gzip.GzipFile(fileobj=cast("IO[bytes]", file), mode="wb", compresslevel=4, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w|") as archive,
    ):
        archive.add(data_dir, _ROOT, recursive=False)
        for number, path in enumerate(files, start=1):
            archive.add(path, f"{_ROOT}/{path.relative_to(data_dir)}", recursive=False)
            if number % 200 == 0:
                say(f"{number} of {len(files)} files of the data directory")
            if time.monotonic() - alive > _SIGN_OF_LIFE_SECONDS:
                connection.execute("SELECT 1")
                alive = time.monotonic()


def unpack_data(source: IO[bytes], home: Path) -> Path:
    """Unpack such a file as the data directory of a home that has none, and return the directory."""
    folder = home / "timescaledb"
    folder.mkdir(parents=True, mode=0o700)
    try:
        with tarfile.open(fileobj=source, mode="r|gz") as archive:
            # Python before 3.11.4 knows no filters.
            archive.extraction_filter = getattr(tarfile, "data_filter", None)
            archive.extractall(folder)  # noqa: S202  # its checksum is that of what was written here
    except (tarfile.TarError, EOFError) as error:
        raise AnalyticsError(f"The copy of the embedded database can't be unpacked: {error}.") from error
    # Unpacked, folders are open to whom the archive says; PostgreSQL wants its own private.
    (folder / _ROOT).chmod(0o700)
    return folder / _ROOT


@contextmanager
def running_aside(home: Path) -> Iterator[EmbeddedTimescale]:
    """Run the server of a home for the block, without its policies."""
    server = EmbeddedTimescale(home, job_interval=_NEVER_SECONDS)
    server.start()
    try:
        yield server
    finally:
        server.stop()
