"""What packed files hold, member by member, as far as it can be read."""

import codecs
import io
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, Protocol

import zstandard

_NUL = b"\0"


class _Member(Protocol):
    """What unpacks one member: as the standard library and zstandard have it."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Packing:
    """A way to pack: how a member begins, what unpacks one, and how many bytes it is given at once.

    So many bytes give some megabytes at most, however well they were packed.
    """

    name: str
    endings: tuple[str, ...]
    beginnings: tuple[bytes, ...]
    open_member: Callable[[], _Member]
    bytes_at_once: int


def _gzip_member() -> Any:
    return zlib.decompressobj(wbits=31)


def _zstd_member() -> Any:
    return zstandard.ZstdDecompressor().decompressobj()


# Frames without content, in which programs that pack in parallel note sizes.
_ZSTD_NOTES = tuple(bytes((number, 0x2A, 0x4D, 0x18)) for number in range(0x50, 0x60))
PACKINGS: Final = (
    Packing("gzip", (".gz",), (b"\x1f\x8b",), _gzip_member, 8_192),
    Packing("zstd", (".zst", ".zstd"), (b"\x28\xb5\x2f\xfd", *_ZSTD_NOTES), _zstd_member, 256),
)
_BEGINNING_BYTES = max(len(beginning) for packing in PACKINGS for beginning in packing.beginnings)
_READ_BYTES = 1 << 16


def packing_of(beginning: bytes) -> Packing | None:
    """Return how a file is packed that begins like this, None if it isn't."""
    return next((packing for packing in PACKINGS if beginning.startswith(packing.beginnings)), None)


class Unpacked(io.RawIOBase):
    """The bytes of all members; where they can't be read any further, ``damage`` says why and the stream ends.

    ``is_cut`` says that it ends within a member. A byte order mark at the beginning of a member is left out, and
    begins a new line: files were appended there.
    """

    def __init__(self, packed: BinaryIO) -> None:
        """Read from a stream that begins with a member."""
        self._packed = packed
        self._input = b""
        self._at = 0
        self._output = b""
        self._taken = 0
        self._member: _Member | None = None
        self._is_at_start = True
        self._last_byte = b"\n"
        self._bytes_at_once = 0
        self.damage: str | None = None
        self.is_cut = False

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer; 0 at the end."""
        # A few bytes of a member may give nothing yet.
        while self._taken == len(self._output):
            if self.damage is not None or not self._unpack():
                return 0
        view = memoryview(buffer)
        size = min(len(view), len(self._output) - self._taken)
        view[:size] = self._output[self._taken : self._taken + size]
        self._taken += size
        return size

    def _unpack(self) -> bool:
        """Unpack some more; return whether there was anything to unpack."""
        if self._member is None and not self._begin_member():
            return False
        member = self._member
        if member is None:
            return True
        self._fill(1)
        data = self._input[self._at : self._at + self._bytes_at_once]
        if not data:
            self._end("it ends in the middle of its packed data", is_cut=True)
            return True
        self._at += len(data)
        before = getattr(member, "copy", lambda: None)()
        try:
            output = member.decompress(data)
        except (zlib.error, zstandard.ZstdError) as error:
            output = _salvaged(before, data)
            self._end(f"its packed data can't be read on: {error}", is_cut=True)
        else:
            if member.eof:
                self._at -= len(member.unused_data)
                self._member = None
        self._give(output)
        return True

    def _begin_member(self) -> bool:
        self._fill(_BEGINNING_BYTES)
        # Some writers pad with NUL bytes.
        while self._input.startswith(_NUL, self._at):
            self._input, self._at = self._input[self._at :].lstrip(_NUL), 0
            self._fill(_BEGINNING_BYTES)
        beginning = self._input[self._at : self._at + _BEGINNING_BYTES]
        if not beginning:
            return False
        packing = packing_of(beginning)
        if packing is None:
            self._end("bytes that are no packed data follow the packed data")
            return True
        self._member = packing.open_member()
        self._bytes_at_once = packing.bytes_at_once
        self._is_at_start = True
        return True

    def _fill(self, least: int) -> None:
        while len(self._input) - self._at < least and (more := self._packed.read(_READ_BYTES)):
            self._input, self._at = self._input[self._at :] + more, 0

    def _give(self, output: bytes) -> None:
        if self._is_at_start and output:
            # A member gives its first bytes at once: it is not unpacked byte by byte.
            self._is_at_start = False
            if output.startswith(codecs.BOM_UTF8):
                output = output.removeprefix(codecs.BOM_UTF8)
                output = output if self._last_byte == b"\n" else b"\n" + output
        self._last_byte = output[-1:] or self._last_byte
        self._output, self._taken = output, 0

    def _end(self, damage: str, *, is_cut: bool = False) -> None:
        self.damage, self.is_cut = damage, is_cut
        self._member = None


def _salvaged(member: Any, data: bytes) -> bytes:
    """Return what a member gives before the byte at which it can't be read on; nothing where it can't be copied."""
    output = b""
    if member is not None:
        with suppress(zlib.error):
            for number in range(len(data)):
                output += member.decompress(data[number : number + 1])
    return output


class Recoded(io.RawIOBase):
    """Text of another encoding as UTF-8. What is no text in it becomes bytes that are no UTF-8, in the same line."""

    def __init__(self, stream: BinaryIO, encoding: str) -> None:
        """Read from a stream of the encoding, with or without a byte order mark."""
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder(encoding)(_NO_TEXT)
        self._output = b""
        self._is_over = False

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer; 0 at the end."""
        while not self._output and not self._is_over:
            data = self._stream.read(_READ_BYTES)
            self._is_over = not data
            self._output = self._decoder.decode(data, self._is_over).encode("utf-8", "surrogatepass")
        view = memoryview(buffer)
        size = min(len(view), len(self._output))
        view[:size] = self._output[:size]
        self._output = self._output[size:]
        return size


def _half_of_a_pair(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "\ud800", error.end


_NO_TEXT = "analytics_no_text"
codecs.register_error(_NO_TEXT, _half_of_a_pair)
