"""Clients that speak the wire protocol by hand, rightly or wrongly."""

import contextlib
import random
import re
import socket
import struct
from pathlib import Path

from analytics_pipeline.embedded import EmbeddedTimescale

TIMEOUT = 20


def message(kind: bytes, body: bytes = b"") -> bytes:
    """A message with its length."""
    return kind + struct.pack("!I", len(body) + 4) + body


def startup(**parameters: str) -> bytes:
    """A start-up packet."""
    fields = b"".join(text.encode() + b"\0" for pair in ({"user": "postgres"} | parameters).items() for text in pair)
    return message(b"", struct.pack("!I", 196608) + fields + b"\0")


def connect_raw(server: EmbeddedTimescale) -> socket.socket:
    """A connection to the server's socket on which nothing has been said."""
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(TIMEOUT)
    client.connect(str(Path(re.findall(r"host=([^&]+)", server.url)[0].replace("%20", " ")) / ".s.PGSQL.5432"))
    return client


def read_message(client: socket.socket) -> tuple[bytes, bytes] | None:
    """The next message of the server; ``None`` when it has closed the connection."""
    head = _read(client, 5)
    return None if head is None else (head[:1], _read(client, struct.unpack("!I", head[1:])[0] - 4) or b"")


def log_in(server: EmbeddedTimescale) -> socket.socket:
    """A connection that has logged in."""
    client = connect_raw(server)
    client.sendall(startup())
    while (read_message(client) or (b"Z",))[0] != b"Z":
        pass
    return client


def last_words(client: socket.socket) -> dict[str, str]:
    """The fields of the last error before the server closes the connection; empty if there was none."""
    fields: dict[str, str] = {}
    with contextlib.suppress(ConnectionError):
        while found := read_message(client):
            if found[0] == b"E":
                fields = {part[:1].decode(): part[1:].decode() for part in found[1].split(b"\0") if part}
    return fields


def everything(client: socket.socket) -> bytes:
    """All that the server sends before it closes the connection."""
    data = bytearray()
    with contextlib.suppress(ConnectionError):
        while chunk := client.recv(2**16):
            data += chunk
    return bytes(data)


# Messages that keep to the protocol, to be spoilt.
STATEMENTS = [
    [message(b"Q", b"SELECT 1\0")],
    [message(b"Q", b"BEGIN; SELECT now(); COMMIT\0")],
    [
        message(b"P", b"one\0SELECT $1::int + 1\0\0\1\0\0\0\x17"),
        message(b"D", b"Sone\0"),
        message(b"B", b"two\0one\0\0\1\0\0\0\1\0\0\0\x0241\0\1\0\1"),
        message(b"D", b"Ptwo\0"),
        message(b"E", b"two\0\0\0\0\0"),
        message(b"C", b"Ptwo\0"),
        message(b"C", b"Sone\0"),
        message(b"H"),
        message(b"S"),
    ],
    [message(b"F", struct.pack("!IHH", 1598, 0, 0) + b"\0\1"), message(b"S")],
    [message(b"Q", b"COPY (SELECT 1) TO STDOUT\0"), message(b"d", b"1\n"), message(b"c"), message(b"f", b"no\0")],
]
SASL = message(b"p", b"SCRAM-SHA-256\0" + struct.pack("!I", 16) + b"n,,n=,r=fuzzfuzz")


def spoil(chance: random.Random, messages: list[bytes]) -> bytes:
    """Bytes of which some are not what they should be: as a broken client, a port scanner or an attacker sends them."""
    spoilt = list(messages)
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(spoilt))
        one = bytearray(spoilt[at])
        match chance.randrange(7):
            case 0:  # other bytes
                for _ in range(chance.randint(1, 4) if one else 0):
                    one[chance.randrange(len(one))] = chance.randrange(256)
            case 1:  # another length
                one[1:5] = struct.pack("!I", chance.choice([0, 3, 4, 5, 6, 255, 70_000, 2**31 - 1, 2**32 - 1]))
            case 2:  # cut short, with the length that fits
                body = bytes(one[5 : chance.randint(5, max(5, len(one)))])
                one = bytearray(message(bytes(one[:1]), body))
            case 3:  # no NULs
                one = bytearray(message(bytes(one[:1]), bytes(one[5:]).replace(b"\0", b"")))
            case 4:  # another type
                one[:1] = bytes([chance.randrange(256)])
            case 5:  # more than there should be
                one = bytearray(message(bytes(one[:1]), bytes(one[5:]) + chance.randbytes(chance.randint(1, 40))))
            case _:  # anything
                one = bytearray(chance.randbytes(chance.randint(1, 60)))
        spoilt[at] = bytes(one) or b"\0"
    return b"".join(spoilt)


def _read(client: socket.socket, count: int) -> bytes | None:
    data = b""
    while len(data) < count:
        chunk = client.recv(min(count - len(data), 2**20))
        if not chunk:
            return None
        data += chunk
    return data
