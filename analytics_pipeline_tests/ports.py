"""Ports for programs that can't be told to take any."""

import os
import socket
from collections.abc import Iterator
from functools import cache

# Below those that a machine gives to whoever asks for any: between a look and its use, one of those is soon another's.
_PORTS = range(10_000, 32_000, 4)


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port of ``host`` of which, and of the three after it, nobody listens; each call gives another."""
    return next(port for port in _candidates() if all(_is_free(host, port + i) for i in range(_PORTS.step)))


@cache
def _candidates() -> Iterator[int]:
    """All ports, in an order of this process's own."""
    return iter(sorted(_PORTS, key=lambda port: hash((os.getpid(), port))))


def _is_free(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
