"""Reads mails as they leave through the socket, by the letter of RFC 5322, 2047 and 2045 and nothing of ``email``."""

import base64
import quopri
import re
from dataclasses import dataclass

_WORD = r"=\?[A-Za-z0-9-]+\?[bBqQ]\?[!->@-~]*\?="
_WORD_LIMIT = 75
_LINE_LIMIT = 998


@dataclass(frozen=True)
class Wire:
    """One entity: its headers in their order, unfolded, and its body as it stands."""

    headers: list[tuple[str, str]]
    body: bytes

    def __getitem__(self, name: str) -> str:
        (value,) = [value for given, value in self.headers if given == name]
        return value

    @property
    def text(self) -> str:
        """The body of a part of text, decoded."""
        assert self["Content-Transfer-Encoding"] == "quoted-printable"
        return quopri.decodestring(self.body).decode().replace("\r\n", "\n")

    @property
    def parts(self) -> list["Wire"]:
        """The parts of a multipart, in their order."""
        (boundary,) = re.findall(r'boundary="([^"]+)"', self["Content-Type"])
        before, *parts, after = re.split(rb"(?:^|\r\n)--" + re.escape(boundary.encode()) + rb"(?:--)?\r\n", self.body)
        assert (before, after) == (b"", b"")
        return [read_wire(part) for part in parts]


def read_wire(content: bytes) -> Wire:
    """Read one entity; fails where a line is none, or holds what only an encoding may carry."""
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)|[^\t\r\n -~]", content)
    assert max(map(len, content.split(b"\r\n"))) <= _LINE_LIMIT
    head, _, body = content.partition(b"\r\n\r\n")
    unfolded = re.sub(r"\r\n(?=[ \t])", "", head.decode("ascii"))
    headers = []
    for line in unfolded.split("\r\n"):
        name, colon, value = line.partition(": ")
        assert colon, f"{line!r} is no header"
        headers.append((name, value.strip(" ")))
    return Wire(headers, body)


def decode_words(value: str) -> str:
    """Return a header's text by RFC 2047: blanks between encoded words are none, each holds whole characters."""
    joined = re.sub(rf"({_WORD}) +(?={_WORD})", r"\1", value)
    assert "=?" not in re.sub(_WORD, "", joined), f"half a word in {value!r}"
    return re.sub(_WORD, lambda match: _decoded(match[0]), joined)


def _decoded(word: str) -> str:
    assert len(word) <= _WORD_LIMIT
    charset, encoding, text = word[2:-2].split("?")
    octets = base64.b64decode(text, validate=True) if encoding in "bB" else quopri.decodestring(text, header=True)
    return octets.decode(charset)
