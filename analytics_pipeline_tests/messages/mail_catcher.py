"""A real SMTP server that keeps what it takes, and misbehaves as it is told."""

import asyncio
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from analytics_pipeline_tests.ports import free_port


class Catcher:
    """The handler of the server: mails it took, and the answers it gives (None: accept)."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.raw: list[bytes] = []
        self.ehlos: list[str | None] = []
        self.senders: list[tuple[str | None, list[str]]] = []
        self.data_answer: str | None = None
        self.data_answers: dict[str, str] = {}
        self.silent_after_data = False
        self.speaks_again = threading.Event()
        self.refused: dict[str, str] = {}
        self.was_encrypted: list[bool] = []
        self.port = 0

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.refused:
            return self.refused[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        refusals = [self.data_answers[to] for to in envelope.rcpt_tos if to in self.data_answers]
        if self.data_answer is not None or refusals:
            return self.data_answer or refusals[0]
        assert isinstance(envelope.content, bytes)
        mail = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        self.raw.append(envelope.content)
        self.ehlos.append(session.host_name)
        self.senders.append((envelope.mail_from, list(envelope.rcpt_tos)))
        self.was_encrypted.append(session.ssl is not None)
        if self.silent_after_data:
            await asyncio.to_thread(self.speaks_again.wait, 30)
        return "250 taken"


@contextmanager
def mail_server(
    *,
    tls: ssl.SSLContext | None = None,
    implicit: bool = False,
    authenticator: Callable[..., object] | None = None,
    catcher: Catcher | None = None,
    host: str = "127.0.0.1",
) -> Iterator[Catcher]:
    """Run a server on loopback: in the clear, with STARTTLS (``tls``), or encrypted from the start (``implicit``).

    A ``catcher`` of one's own may know further ways to log in.
    """
    catcher = catcher or Catcher()
    catcher.port = free_port(host)
    controller = Controller(
        catcher,
        hostname=host,
        port=catcher.port,
        ssl_context=tls if implicit else None,
        tls_context=None if implicit else tls,
        require_starttls=tls is not None and not implicit,
        authenticator=authenticator,
        auth_required=authenticator is not None,
    )
    controller.start()
    try:
        yield catcher
    finally:
        catcher.speaks_again.set()
        controller.stop()
