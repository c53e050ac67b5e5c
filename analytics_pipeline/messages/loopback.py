"""Which hosts can only be this machine: only they may be spoken to in the clear without being asked for it."""

import ipaddress


def is_loopback(host: str) -> bool:
    """Return whether a host's name or address can only be this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
