"""What passes for a mail address: the plain form, and nothing that could change a header or a command."""

import re
from dataclasses import dataclass

# Domains that only a private network has: addresses there are as good as others.
_PRIVATE_DOMAINS = {"local", "localhost"}
_NAME_CHARACTERS = 100
_is_mailbox = re.compile(r"(?P<name>.*?)\s*<(?P<address>[^<>]*)>", re.DOTALL).fullmatch


@dataclass(frozen=True, slots=True)
class Mailbox:
    """An address, in ASCII, and the name that people see before it; empty: none."""

    address: str
    name: str = ""

    @classmethod
    def parse(cls, text: str) -> "Mailbox":
        """Read ``name@example.com`` or ``Display name <name@example.com>``, the name in quotes or without.

        Raises ``ValueError`` for what is no address, and for a name with line breaks or invisible characters.
        """
        match = _is_mailbox(text.strip())
        if match is None:
            return cls(require_address(text.strip()))
        name = match["name"].strip()
        if len(name) > 1 and name[0] == name[-1] == '"':
            name = re.sub(r"\\(.)", r"\1", name[1:-1])
        if not name.isprintable() or len(name) > _NAME_CHARACTERS:
            raise ValueError(
                f"{name[:_NAME_CHARACTERS]!r} can't be the name before an address: at most {_NAME_CHARACTERS} visible "
                "characters"
            )
        return cls(require_address(match["address"].strip()), name)

    @property
    def domain(self) -> str:
        """What follows the at sign."""
        return self.address.rpartition("@")[2]


def require_address(text: str) -> str:
    """Return the address in the form of mail servers: a domain like bücher.example becomes xn--bcher-kva.example.

    Nobody is asked whether it exists. Raises ``ValueError`` for anything but ``name@host``, line breaks included, and
    for letters outside of ASCII before the at sign, which few servers take.
    """
    # A tenth of a second to import: only a process that has an address pays for it.
    import email_validator

    # The library's own way to allow them.
    email_validator.SPECIAL_USE_DOMAIN_NAMES[:] = set(email_validator.SPECIAL_USE_DOMAIN_NAMES) - _PRIVATE_DOMAINS
    try:
        valid = email_validator.validate_email(
            text, check_deliverability=False, globally_deliverable=False, allow_smtputf8=False, strict=True
        )
    except email_validator.EmailNotValidError as error:
        raise ValueError(f"{text!r} is not a mail address like name@example.com: {str(error).rstrip('.')}") from error
    # As it was given, so that what was stored by an earlier release stays the same.
    return text if text.isascii() else str(valid.ascii_email)
