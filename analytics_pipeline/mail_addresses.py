"""What passes for a mail address: the plain form, and nothing that could change a header or a command."""

import re

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ADDRESS = re.compile(rf"[A-Za-z0-9.!#$%&'*+/=?^_`{{|}}~-]{{1,64}}@{_LABEL}(?:\.{_LABEL})*")


def require_address(text: str) -> str:
    """Return the address; raise ``ValueError`` for anything but ``name@host`` in ASCII, line breaks included."""
    if not _ADDRESS.fullmatch(text):
        raise ValueError(f"{text!r} is not a mail address like name@example.com")
    return text
