"""Addresses of messages: a channel and a target of it, ``mail:finance@example.com`` or ``slack:ops``."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.messages.channels import CHANNELS
from analytics_pipeline.messages.channels.log import LogChannel
from analytics_pipeline.messages.channels.mail import MailChannel
from analytics_pipeline.messages.http import shown_name
from analytics_pipeline.settings import Settings

_EXAMPLES = "mail:finance@example.com, webhook:ops, slack:ops, teams:ops or pagerduty:ops"

Names = Mapping[str, Mapping[str, str]]
"""What the settings give names to, by channel and name."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a message goes: the name of a channel, and a target of that channel; never a secret."""

    channel: str
    target: str

    def __str__(self) -> str:
        """Show it as it is written."""
        return f"{self.channel}:{self.target}"

    @property
    def key(self) -> str:
        """What is the same for the same target, whatever its case."""
        return str(self).lower()


def parse_address(text: str) -> Address:
    """Return the address that a text names; a mail address alone is one, too.

    Raises ``ValueError`` with what is wrong and what an address looks like.
    """
    name, colon, target = text.partition(":")
    if not colon or name not in CHANNELS:
        if colon and "@" not in name:
            near = difflib.get_close_matches(name, CHANNELS, n=1)
            meant = f" (did you mean {near[0]}?)" if near else ""
            # What follows may be a secret that somebody has put into the wrong place.
            raise ValueError(f"{name[:80]!r} is no channel{meant}: write an address like {_EXAMPLES}")
        name, target = MailChannel.name, text
    return Address(name, CHANNELS[name].require_target(target))


def parse_addresses(texts: Iterable[str]) -> tuple[Address, ...]:
    """Return addresses in their order, each once whatever its case; raises ``ValueError`` likewise."""
    addresses: dict[str, Address] = {}
    for text in texts:
        address = parse_address(text)
        addresses.setdefault(address.key, address)
    return tuple(addresses.values())


def describe_address(channel: str, target: str) -> str:
    """Return an address for people and programs that list them: a mail address stands alone."""
    return target if channel == MailChannel.name else str(Address(channel, target))


def configured_names(settings: Settings) -> Names:
    """Return what the settings give names to; raises ``AnalyticsError`` for a setting that can't be used."""
    names = {name: channel.names(settings) for name, channel in CHANNELS.items()}
    return {name: known for name, known in names.items() if known is not None}


def require_configured(address: Address, names: Names) -> None:
    """Raise ``ValueError`` for an address whose target is a name that the settings don't have."""
    known = names.get(address.channel)
    if known is None or address.target in known:
        return
    near = difflib.get_close_matches(address.target, known, n=3)
    meant = f" (did you mean {' or '.join(near)}?)" if near else ""
    setting = CHANNELS[address.channel].setting
    raise ValueError(
        f"{setting} has no {shown_name(address.target)!r}{meant}: what belongs to a name is a secret and stands there"
    )


def operator_targets(settings: Settings) -> tuple[Address, ...]:
    """Return where operators are notified, as ANALYTICS_OPERATORS says; without any the log.

    Without a mail server the log stands in for mail addresses, too. Raises ``AnalyticsError`` for what is no address,
    and for a name that the settings don't have.
    """
    try:
        addresses = parse_addresses(settings.operator_addresses)
        names = configured_names(settings)
        for address in addresses:
            require_configured(address, names)
    except ValueError as error:
        raise AnalyticsError(f"ANALYTICS_OPERATORS: {error}.") from error
    log = Address(LogChannel.name, LogChannel.default_target)
    has_mail = settings.smtp_url is not None
    usable = [log if address.channel == MailChannel.name and not has_mail else address for address in addresses]
    return tuple(dict.fromkeys(usable)) or (log,)
