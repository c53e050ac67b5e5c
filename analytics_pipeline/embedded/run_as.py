"""Run a program as another user: ``python -I -S run_as.py UID KEEP_ACCESS PROGRAM ARGUMENTS...``.

PostgreSQL refuses to run as root. Started by root it runs as a user nobody else is. Where that
user couldn't get at the files, because a folder above them is root's alone, KEEP_ACCESS=1
lets the program keep one privilege of root's: to read and to enter any folder.

A program of its own, not a ``preexec_fn``: that would run Python between fork and exec of
a process that may have threads.
"""

import ctypes
import os
import struct
import sys
from pathlib import Path

_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 1, 2
_PR_SET_KEEPCAPS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE = 8, 47, 2
_CAPABILITY_VERSION_3 = 0x20080522


def _permitted() -> int:
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapPrm:"))


def _check(result: int, what: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), what)


def _become(uid: int, *, keep_access: bool) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if keep_access:
        _check(libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0), "keep capabilities")
    permitted = _permitted()
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    if not keep_access:
        return
    # Containers often grant the wider of the two only.
    capability = _CAP_DAC_READ_SEARCH if permitted & 1 << _CAP_DAC_READ_SEARCH else _CAP_DAC_OVERRIDE
    low = 1 << capability
    header = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
    _check(libc.capset(header, struct.pack("6I", low, low, low, 0, 0, 0)), "set capabilities")
    _check(libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability, 0, 0), "pass on capabilities")


if __name__ == "__main__":
    _become(int(sys.argv[1]), keep_access=sys.argv[2] == "1")
    os.execv(sys.argv[3], sys.argv[3:])  # noqa: S606 - the point of this program
