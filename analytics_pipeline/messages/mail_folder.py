"""A folder in place of a mail server: every mail becomes a file, once. For demonstrations and for trying things."""

import re
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.messages.channel import ChannelDown, Refused
from analytics_pipeline.messages.mime import Mail
from analytics_pipeline.messages.timeouts import Timeouts

_NAME_CHARACTERS = 150


@dataclass(frozen=True, slots=True)
class MailFolder:
    """A folder that mails are written to as ``<Message-ID>.eml``; the same mail again is the same file."""

    path: Path

    @classmethod
    def parse(cls, url: str) -> "MailFolder":
        """Read ``file:///folder``; raises ``AnalyticsError`` for a URL that names no folder of this machine."""
        parts = urlsplit(url)
        path = Path(unquote(parts.path))
        if parts.netloc not in {"", "localhost"} or not path.is_absolute() or parts.query or parts.fragment:
            raise AnalyticsError(
                "ANALYTICS_SMTP_URL can't be used: a folder for mails is written like file:///var/spool/analytics."
            )
        return cls(path)

    def __str__(self) -> str:
        """Show the folder."""
        return f"the folder {self.path}"

    def deliver(
        self,
        mail: Mail,
        timeouts: Timeouts,  # noqa: ARG002  # the form of a transport
        before_last: Callable[[], None] = lambda: None,
    ) -> None:
        """Write one mail; see ``write``."""
        self.write(mail, before_last)

    def write(self, mail: Mail, before_last: Callable[[], None]) -> None:
        """Write one mail whole, readable by its owner alone; raises ``ChannelDown`` when that can't be done."""
        draft = self.path / f".{secrets.token_hex(8)}.tmp"
        try:
            content = mail.as_bytes()
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            draft.touch(mode=0o600, exist_ok=False)
            draft.write_bytes(content)
            before_last()
            draft.replace(self.path / mail_name(mail.message_id))
        except ValueError as error:
            raise Refused(f"no mail can be made of it: {error}") from error
        except OSError as error:
            raise ChannelDown(f"{self} can't be written: {error.strerror}") from error
        finally:
            with suppress(OSError):
                draft.unlink()


def mail_name(message_id: str) -> str:
    """Return the name of the file that a mail of this id is written to."""
    return f"{re.sub(r'[^A-Za-z0-9@._-]', '_', message_id.strip('<>'))[:_NAME_CHARACTERS]}.eml"
