"""A mail as the bytes that leave.

Python's ``email`` package is not asked: it decodes encoded words that stand in a header's text, so that a company
called ``=?utf-8?q?x=0D=0A=0D=0A<h1>...?=`` became a header or the body of the mail, and its folding of long subjects
loses blanks. Here text is text: what is not plain ASCII, or could be read as an encoded word, is encoded by RFC 2047.
"""

import base64
import quopri
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime

from analytics_pipeline.mail_addresses import Mailbox
from analytics_pipeline.text import visible_line

# RFC 5322 asks for lines of at most 78 characters, RFC 2047 for 76 where there is an encoded word in them.
_LINE_CHARACTERS = 76
# UTF-8 bytes of one encoded word: with the longest of our header names before it, it keeps the line's limit.
_WORD_BYTES = 39
# However a name of a file is encoded, its line keeps the limit of 998 characters.
_FILE_NAME_CHARACTERS = 80
_SPECIALS = frozenset('()<>[]:;@\\,."')
_is_token = re.compile(r"[A-Za-z0-9._~-]+").fullmatch


@dataclass(frozen=True, slots=True)
class MailFile:
    """A file that goes with a mail: its name for people, its media type like ``application/pdf``, its bytes."""

    name: str
    media_type: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """A mail, all of it text as people read it.

    ``recipient`` is an address in ASCII, empty: it is for whoever reads it; ``message_id`` stands in angle brackets.
    ``headers`` are further ones, made of ASCII by the program itself.
    """

    sender: Mailbox
    recipient: str
    subject: str
    message_id: str
    text: str
    html: str | None = None
    file: MailFile | None = None
    reply_to: Mailbox | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def as_bytes(self) -> bytes:
        """Return the mail dated now, in lines that end with CRLF; raises ``ValueError`` for a header that is none."""
        headers = {
            "Subject": encode_header("Subject", self.subject),
            "From": _mailbox(self.sender),
            **({"To": self.recipient} if self.recipient else {}),
            **({"Reply-To": _mailbox(self.reply_to)} if self.reply_to else {}),
            "Date": format_datetime(datetime.now(UTC)),
            "Message-ID": self.message_id,
            "Auto-Submitted": "auto-generated",
            **self.headers,
            "MIME-Version": "1.0",
        }
        return _headers(headers) + self._body()

    def _body(self) -> bytes:
        body = _text_part("plain", self.text)
        if self.html is not None:
            body = _multipart("alternative", [body, _text_part("html", self.html)])
        if self.file is not None:
            body = _multipart("mixed", [body, _file_part(self.file)])
        return body


def encode_header(name: str, text: str) -> str:
    """Return text as the value of a header, a visible line of text, folded into lines."""
    line = visible_line(text)
    room = _LINE_CHARACTERS - len(f"{name}: ")
    if not line.isascii() or "=?" in line or any(len(word) > room for word in line.split()):
        return "\r\n ".join(_encoded_words(line))
    return "\r\n ".join(_folded(line, room))


def _encoded_words(text: str) -> Iterator[str]:
    """Yield encoded words, each of whole characters (RFC 2047, section 5)."""
    chunk = b""
    for character in text:
        encoded = character.encode()
        if len(chunk) + len(encoded) > _WORD_BYTES:
            yield f"=?utf-8?b?{base64.b64encode(chunk).decode()}?="
            chunk = b""
        chunk += encoded
    yield f"=?utf-8?b?{base64.b64encode(chunk).decode()}?="


def _folded(line: str, room: int) -> Iterator[str]:
    """Yield the parts of a line between which it is broken, at blanks; the first has room for so many characters."""
    part = ""
    for word in line.split(" "):
        if part and len(part) + 1 + len(word) > room:
            yield part
            part, room = word, _LINE_CHARACTERS - 1
        else:
            part = f"{part} {word}" if part else word
    yield part


def _mailbox(mailbox: Mailbox) -> str:
    if not mailbox.name:
        return mailbox.address
    name = encode_header("Reply-To", mailbox.name)
    if _SPECIALS.intersection(mailbox.name) and mailbox.name.isascii() and "=?" not in mailbox.name:
        name = '"' + re.sub(r'(["\\])', r"\\\1", mailbox.name) + '"'
    return f"{name}\r\n <{mailbox.address}>"


def _headers(headers: Mapping[str, str]) -> bytes:
    lines = []
    for name, value in headers.items():
        unfolded = value.replace("\r\n ", " ")
        if not (unfolded.isascii() and unfolded.isprintable()):
            raise ValueError(f"the header {name} can't hold {unfolded[:200]!r}")
        lines.append(f"{name}: {value}\r\n")
    return "".join(lines).encode()


def _text_part(subtype: str, text: str) -> bytes:
    """Return a part of text; characters that no encoding takes (halves of a pair, from a broken name) are escaped.

    Quoted-printable: lines as they are would break a server's limit, and 8-bit characters need one that takes them.
    """
    lines = re.sub(r"\r\n?", "\n", text).encode("utf-8", "backslashreplace")
    head = {"Content-Type": f'text/{subtype}; charset="utf-8"', "Content-Transfer-Encoding": "quoted-printable"}
    return _headers(head) + b"\r\n" + quopri.encodestring(lines).replace(b"\n", b"\r\n")


def _file_part(file: MailFile) -> bytes:
    head = {
        "Content-Type": file.media_type,
        "Content-Transfer-Encoding": "base64",
        "Content-Disposition": f"attachment;\r\n {_file_name(file.name)}",
    }
    return _headers(head) + b"\r\n" + base64.encodebytes(file.content).replace(b"\n", b"\r\n")


def _file_name(name: str) -> str:
    """Return the parameter ``filename``, by RFC 2231 where the name is more than plain characters."""
    if _is_token(name):
        return f'filename="{name}"'
    visible = "".join(character if character.isprintable() else "_" for character in name[-_FILE_NAME_CHARACTERS:])
    octets = (chr(byte) if _is_token(chr(byte)) else f"%{byte:02X}" for byte in visible.encode())
    return f"filename*=utf-8''{''.join(octets)}"


def _multipart(subtype: str, parts: Sequence[bytes]) -> bytes:
    # None of the encodings above makes the two first characters.
    boundary = f"=_{secrets.token_hex(16)}"
    head = _headers({"Content-Type": f'multipart/{subtype};\r\n boundary="{boundary}"'})
    opened = b"".join(b"--" + boundary.encode() + b"\r\n" + part + b"\r\n" for part in parts)
    return head + b"\r\n" + opened + b"--" + boundary.encode() + b"--\r\n"
