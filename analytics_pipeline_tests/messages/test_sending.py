"""Every message leaves once, whatever the server answers and wherever a sender dies."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from email.utils import parseaddr
from pathlib import Path
from typing import Any

import pytest
import trustme

from analytics_pipeline.mail_addresses import Mailbox
from analytics_pipeline.messages.channels.mail import MailChannel
from analytics_pipeline.messages.message import Attachment
from analytics_pipeline.messages.sending import MAX_ATTEMPTS, SendReport, send_due
from analytics_pipeline.messages.smtp import MailServer, mail_transport
from analytics_pipeline.messages.timeouts import Timeouts
from analytics_pipeline.settings import get_settings
from analytics_pipeline.store import artifact_name, store_artifact
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline_tests.commands import running
from analytics_pipeline_tests.conftest import SERVER_URL, Database
from analytics_pipeline_tests.messages import sample_messages
from analytics_pipeline_tests.messages.conftest import SENDER, Send, channel_to, pass_time, states
from analytics_pipeline_tests.messages.mail_catcher import Catcher, mail_server
from analytics_pipeline_tests.messages.test_mail import server_context

_PATIENCE_SECONDS = 30
# More than fits into the buffers between two processes: its end can't be said before the other side has read.
LARGE = "<p>" + "large " * 1_200_000 + "</p>"


def put(connection: Connection, key: str = "a", to: str = "cfo@example.com", **more: Any) -> bool:
    return sample_messages.put(connection, key, to, subject=f"subject {key}", text=f"text {key}\n", **more)


def problem(connection: Connection) -> str:
    row = connection.execute("SELECT problem FROM analytics_outbox ORDER BY outbox_id").fetchone()
    assert row is not None
    return str(row[0])


def test_a_message_is_sent_once_however_often_it_is_put_in_and_sending_runs(
    connection: Connection, catcher: Catcher, send: Send
) -> None:
    assert put(connection)
    assert not put(connection)
    assert str(send()) == "1 sent"
    assert not put(connection)
    assert str(send()) == "nothing was due"
    (mail,) = catcher.mails
    assert catcher.senders == [(SENDER, ["cfo@example.com"])]
    assert (mail["From"], mail["To"], mail["Subject"]) == (SENDER, "cfo@example.com", "subject a")
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Message-ID"].endswith("@example.com>")
    assert mail.get_content() == "text a\r\n"
    assert states(connection) == ["sent"]


def test_a_mail_has_its_html_part_and_its_attachment(connection: Connection, catcher: Catcher, send: Send) -> None:
    content = bytes(range(256)) * 40
    name = artifact_name("a", "b", suffix=".pdf")
    stored = store_artifact(get_settings().artifacts_root, name, content)
    attachment = Attachment(name=name, uri=stored.uri, file="a-b.pdf", size=stored.size, sha256=stored.sha256)
    put(connection, html="<p>\u20ac " + "long " * 500 + "</p>", attachment=attachment)
    send()
    (mail,) = catcher.mails
    plain, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert plain is not None
    assert html is not None
    assert plain.get_content() == "text a\r\n"
    assert "\u20ac long" in html.get_content()
    (attached,) = mail.iter_attachments()
    assert (attached.get_filename(), attached.get_content_type()) == ("a-b.pdf", "application/pdf")
    assert attached.get_content() == content


@pytest.mark.slow
def test_a_temporary_error_is_tried_again_with_growing_pauses_and_the_same_id(
    connection: Connection, catcher: Catcher, send: Send
) -> None:
    put(connection)
    catcher.data_answer = "451 try later"
    ids = set()
    for attempt in range(1, 6):
        report = send()
        assert (report.again, report.sent) == (1, 0), attempt
        assert "451 try later" in str(report)
        assert send() == SendReport(), "too early"
        row = connection.execute(
            "SELECT extract(epoch FROM next_attempt_at - now()) / 60, message_id FROM analytics_outbox"
        ).fetchone()
        assert row is not None
        assert 0.79 * 2 ** (attempt - 1) < row[0] < 1.21 * 2 ** (attempt - 1)
        ids.add(row[1])
        pass_time(connection, 300)
    catcher.data_answer = None
    assert send().sent == 1
    assert [mail["Message-ID"] for mail in catcher.mails] == list(ids)


def test_it_is_given_up_after_two_days(connection: Connection, catcher: Catcher, send: Send) -> None:
    put(connection)
    catcher.refused["cfo@example.com"] = "450 mailbox busy"
    waited = 0.0
    for _ in range(MAX_ATTEMPTS - 1):
        assert send().again == 1
        row = connection.execute("SELECT extract(epoch FROM next_attempt_at - now()) FROM analytics_outbox").fetchone()
        assert row is not None
        waited += float(row[0])
        pass_time(connection, 300)
    report = send()
    assert (report.failed, report.needs_a_person) == (1, True)
    assert 1.5 < waited / 86_400 < 2.5
    pass_time(connection, 10_000)
    assert send() == SendReport()


def test_a_permanent_error_fails_at_once(connection: Connection, catcher: Catcher, send: Send) -> None:
    for key in ("cfo", "ceo", "board"):
        put(connection, key, to=f"{key}@example.com")
    catcher.refused["cfo@example.com"] = "550 no such person"
    catcher.data_answers["ceo@example.com"] = "554 looks like spam"
    report = send()
    assert (report.sent, report.failed, report.again) == (1, 2, 0)
    assert "no such person" in str(report)
    assert "looks like spam" in str(report)
    pass_time(connection, 10_000)
    assert send() == SendReport()
    assert states(connection) == ["failed", "failed", "sent"]


@pytest.mark.slow
def test_silence_after_the_whole_message_is_unknown_and_never_sent_again(
    connection: Connection, catcher: Catcher
) -> None:
    put(connection)
    catcher.silent_after_data = True
    report = send_due(connection, {"mail": channel_to(catcher.port, patience=0.3)}, domain="example.com")
    assert (report.unknown, report.needs_a_person) == (1, True)
    catcher.silent_after_data = False
    pass_time(connection, 10_000)
    assert send_due(connection, {"mail": channel_to(catcher.port)}, domain="example.com") == SendReport()
    assert len(catcher.mails) == 1
    assert states(connection) == ["unknown"]


def _read_until(client: socket.socket, ending: bytes) -> None:
    received = b""
    while not received.endswith(ending):
        part = client.recv(65_536)
        if not part:
            return
        received += part


@contextmanager
def _scripted(serve: Callable[[socket.socket], object]) -> Iterator[int]:
    """Run a server that holds one conversation as it is told, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)

        def run() -> None:
            client, _ = listener.accept()
            # The other side may be gone by then: killed.
            with client, suppress(ConnectionError):
                client.sendall(b"220 hello\r\n")
                for _ in range(3):
                    _read_until(client, b"\r\n")
                    client.sendall(b"250 fine\r\n")
                _read_until(client, b"DATA\r\n")
                client.sendall(b"354 go on\r\n")
                serve(client)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(_PATIENCE_SECONDS)


@pytest.mark.parametrize(
    ("answer", "state"),
    [(b"", "unknown"), (b"nonsense\r\n", "unknown"), (b"452 full\r\n", "pending"), (b"251 taken\r\n", "sent")],
)
def test_what_follows_the_final_dot_decides(connection: Connection, answer: bytes, state: str) -> None:
    put(connection)

    def serve(client: socket.socket) -> None:
        _read_until(client, b"\r\n.\r\n")
        assert states(connection_of_server) == ["sending"]
        assert _is_transmitting(connection_of_server)
        client.sendall(answer)

    with _observer(connection) as connection_of_server, _scripted(serve) as port:
        send_due(connection, {"mail": channel_to(port)}, domain="example.com")
    assert states(connection) == [state]
    assert not (state == "pending" and _is_transmitting(connection))


@pytest.mark.slow
def test_a_connection_lost_before_the_final_dot_is_tried_again(connection: Connection) -> None:
    put(connection, html=LARGE)
    with _scripted(lambda client: client.recv(1)) as port:
        report = send_due(connection, {"mail": channel_to(port)}, domain="example.com")
    assert (report.again, report.unknown) == (1, 0)
    assert states(connection) == ["pending"]
    assert not _is_transmitting(connection)


def test_a_server_that_is_down_is_asked_once_for_all(connection: Connection, catcher: Catcher, send: Send) -> None:
    for key in "abc":
        put(connection, key)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    report = send_due(connection, {"mail": channel_to(port)}, domain="example.com")
    assert report.again == 3
    assert "can't be used" in problem(connection)
    assert connection.execute("SELECT DISTINCT attempts FROM analytics_outbox").fetchall() == [(1,)]
    pass_time(connection, 2)
    assert send().sent == 3


def test_only_an_encrypted_connection_is_used_off_this_machine(
    connection: Connection, catcher: Catcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MailServer.parse("smtp://mail.example.com").starttls
    put(connection)
    plain = MailChannel(
        mail_transport(f"smtp://localhost:{catcher.port}?starttls"),
        sender=Mailbox(SENDER),
        artifacts_root=str(tmp_path),
        timeouts=Timeouts(5, 5),
    )
    report = send_due(connection, {"mail": plain}, domain="example.com")
    assert report.again == 1
    assert "STARTTLS" in str(report)
    assert catcher.mails == []
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    pass_time(connection, 10)
    with mail_server(tls=server_context(authority)) as secure:
        transport = mail_transport(f"smtp://localhost:{secure.port}?starttls")
        channel = MailChannel(transport, sender=Mailbox(SENDER), artifacts_root=str(tmp_path))
        assert send_due(connection, {"mail": channel}, domain="example.com").sent == 1
        assert secure.was_encrypted == [True]


def test_without_a_channel_messages_wait_and_cost_no_attempt(connection: Connection, send: Send) -> None:
    put(connection)
    report = send_due(connection, {}, domain="example.com")
    assert (report.waiting, str(report)) == ({"ANALYTICS_SMTP_URL": 1}, "1 waiting for ANALYTICS_SMTP_URL")
    assert connection.execute("SELECT attempts FROM analytics_outbox").fetchone() == (0,)
    assert send().sent == 1


def test_a_document_that_was_changed_or_removed_from_outside_is_not_sent(
    connection: Connection, catcher: Catcher, send: Send
) -> None:
    root = get_settings().artifacts_root
    for number, name in enumerate(("changed.pdf", "replaced.pdf", "removed.pdf")):
        stored = store_artifact(root, name, b"the document")
        attachment = Attachment(name=name, uri=stored.uri, file=name, size=stored.size, sha256=stored.sha256)
        put(connection, str(number), attachment=attachment)
    (Path(root) / "changed.pdf").write_bytes(b"other bytes")
    (Path(root) / "removed.pdf").unlink()
    # Replaced by the program itself: the revision that the row names is kept beside it.
    store_artifact(root, "replaced.pdf", b"a correction")
    report = send()
    assert (report.sent, report.failed) == (1, 2)
    assert states(connection) == ["failed", "sent", "failed"]
    assert "no longer holds changed.pdf" in problem(connection)
    (attached,) = catcher.mails[0].iter_attachments()
    assert attached.get_content() == b"the document"


def test_a_folder_takes_every_mail_once(connection: Connection, tmp_path: Path) -> None:
    folder = tmp_path / "a spool"
    channel = MailChannel(mail_transport(folder.as_uri()), sender=Mailbox(SENDER), artifacts_root=str(tmp_path))
    put(connection)
    put(connection, "b")
    for _ in range(2):
        send_due(connection, {"mail": channel}, domain="example.com")
    # Sent once more by a person: the same Message-ID is the same file.
    connection.execute("UPDATE analytics_outbox SET state = 'pending', sent_at = NULL, next_attempt_at = now()")
    assert send_due(connection, {"mail": channel}, domain="example.com").sent == 2
    files = sorted(folder.iterdir())
    assert [file.suffix for file in files] == [".eml", ".eml"]
    assert "Subject: subject a" in files[0].read_text()
    assert files[0].stat().st_mode & 0o077 == 0
    assert mail_transport(f"file://{folder}") == mail_transport(folder.as_uri().replace("a%20spool", "a spool"))


def test_an_address_that_is_none_is_refused(connection: Connection) -> None:
    for to in ("a@b\r\nBcc: c@d", "a@b, c@d", "<a@b>", ""):
        with pytest.raises(ValueError, match="is not a mail address"):
            put(connection, to=to)


def test_a_subject_is_one_clean_line_and_unstorable_text_is_shown_escaped(
    connection: Connection, catcher: Catcher, send: Send
) -> None:
    sample_messages.put(
        connection,
        subject="Evil\r\nBcc: x@example.com\x00\x1b[31m \u202egnp\u200b" + "W" * 500,
        text="nul \0 half \udc80",
    )
    send()
    (mail,) = catcher.mails
    assert mail["Bcc"] is None
    assert mail["Subject"].startswith("Evil Bcc: x@example.com [31m gnpWWW")
    assert len(mail["Subject"]) == 180
    assert mail.get_content().strip() == "nul \\x00 half \\udc80"


def _leave_as_a_dead_sender_does(connection: Connection, *, transmitting: bool) -> None:
    connection.execute(
        "UPDATE analytics_outbox SET state = 'sending', attempts = attempts + 1, claimed_by = 'a dead one', "
        "lease_until = now() + interval '15 minutes', transmitting_at = CASE WHEN %s THEN now() END",
        [transmitting],
    )


@pytest.mark.parametrize("transmitting", [False, True])
def test_a_dead_senders_message_is_sent_again_only_if_it_certainly_has_not_left(
    connection: Connection, catcher: Catcher, send: Send, *, transmitting: bool
) -> None:
    put(connection)
    _leave_as_a_dead_sender_does(connection, transmitting=transmitting)
    assert send() == SendReport(), "as long as it is leased nobody touches it"
    pass_time(connection, 16)
    report = send()
    assert (report.sent, report.unknown) == ((0, 1) if transmitting else (1, 0))
    assert len(catcher.mails) == report.sent
    assert states(connection) == ["unknown" if transmitting else "sent"]


def test_a_message_whose_senders_always_die_is_given_up(connection: Connection, send: Send) -> None:
    put(connection)
    for _ in range(MAX_ATTEMPTS):
        _leave_as_a_dead_sender_does(connection, transmitting=False)
    pass_time(connection, 16)
    assert send().failed == 1
    assert "the sender died" in problem(connection)


def test_a_sender_that_lost_its_lease_does_not_finish(connection: Connection, catcher: Catcher) -> None:
    """It stopped for longer than its lease while it sent, and another has sent the message meanwhile."""
    put(connection)

    class Slow(MailChannel):
        def send(self, message: object, before_last: object) -> None:
            with _observer(connection) as other:
                pass_time(other, 16)
                send_due(other, {"mail": channel_to(catcher.port)}, domain="example.com")
            super().send(message, before_last)  # type: ignore[arg-type]

    slow = Slow(MailServer.parse(f"smtp://127.0.0.1:{catcher.port}"), sender=Mailbox(SENDER), artifacts_root="/")
    assert send_due(connection, {"mail": slow}, domain="example.com") == SendReport()
    assert len(catcher.mails) == 1
    assert states(connection) == ["sent"]


def test_a_slow_senders_word_counts_until_a_person_has_decided(connection: Connection, catcher: Catcher) -> None:
    for key in "ab":
        put(connection, key)

    def meanwhile(discard: bool) -> None:  # noqa: FBT001
        with _observer(connection) as other:
            pass_time(other, 16)
            assert send_due(other, {}, domain="example.com").unknown == 1
            if discard:
                other.execute("UPDATE analytics_outbox SET state = 'discarded' WHERE state = 'unknown'")

    class Slow(MailChannel):
        def send(self, message: object, before_last: object) -> None:
            super().send(message, before_last)  # type: ignore[arg-type]
            meanwhile(discard=len(catcher.mails) == 2)

    slow = Slow(MailServer.parse(f"smtp://127.0.0.1:{catcher.port}"), sender=Mailbox(SENDER), artifacts_root="/")
    send_due(connection, {"mail": slow}, domain="example.com")
    assert states(connection) == ["sent", "discarded"]


def test_a_transaction_left_open_is_refused(database: Database) -> None:
    with database.connect() as connection, pytest.raises(ValueError, match="autocommit"):
        send_due(connection, {}, domain="example.com")


@pytest.mark.faults
@pytest.mark.parametrize("phase", ["before", "inside", "after"])
def test_a_sender_that_is_killed_delivers_nothing_twice(
    database: Database, connection: Connection, tmp_path: Path, phase: str
) -> None:
    """SIGKILL before the connection, inside the message, and between the final dot and its answer."""
    put(connection, html=LARGE)
    reached, killed = threading.Event(), threading.Event()

    def serve(client: socket.socket) -> None:
        if phase == "after":
            _read_until(client, b"\r\n.\r\n")
        else:
            client.recv(1)
        reached.set()
        killed.wait(_PATIENCE_SECONDS)

    program = (
        "import sys\n"
        "from analytics_pipeline.messages import delivery\n"
        "from analytics_pipeline.settings import get_settings\n"
        "from analytics_pipeline.database import connect\n"
        "if sys.argv[1] == 'before':\n"
        "    from analytics_pipeline.messages import smtp\n"
        "    def stop(*_):\n"
        "        print('claimed', flush=True)\n"
        "        import time\n"
        "        time.sleep(60)\n"
        "    smtp.MailServer._open = stop\n"
        "delivery.send_by_settings(connect(autocommit=True), get_settings())\n"
    )
    with _scripted(serve) as port:
        # Not through a pool or a thread: the process is what is killed.
        environment = {**os.environ, "ANALYTICS_SMTP_URL": f"smtp://127.0.0.1:{port}"}
        process = subprocess.Popen(
            [sys.executable, "-c", program, phase], env=environment, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        if phase == "before":
            assert process.stdout.readline() == "claimed\n"
            socket.create_connection(("127.0.0.1", port)).close()
        else:
            assert reached.wait(_PATIENCE_SECONDS)
            _wait_until(lambda: states(connection) == ["sending"])
            _wait_until(lambda: _is_transmitting(connection) == (phase == "after"))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        killed.set()
    assert states(connection) == ["sending"]
    with mail_server() as catcher:
        pass_time(connection, 16)
        report = send_due(connection, {"mail": channel_to(catcher.port)}, domain="example.com")
        assert len(catcher.mails) == (0 if phase == "after" else 1)
    assert states(connection) == ["unknown" if phase == "after" else "sent"]
    assert report.unknown == (phase == "after")


@pytest.mark.faults
@pytest.mark.skipif(SERVER_URL is None, reason="the embedded server has one session: senders take turns")
def test_several_senders_at_once_send_every_message_exactly_once(
    database: Database, connection: Connection, catcher: Catcher
) -> None:
    people = [f"person{number}@example.com" for number in range(200)]
    with connection.transaction():
        for person in people:
            put(connection, person, to=person)

    def work(_: int) -> int:
        with database.connect(autocommit=True) as own:
            return send_due(own, {"mail": channel_to(catcher.port)}, domain="example.com").sent

    with ThreadPoolExecutor(4) as pool:
        sent = list(pool.map(work, range(4)))
    assert sum(sent) == 200
    assert sum(share > 0 for share in sent) > 1, "they did share the work"
    assert Counter(parseaddr(mail["To"])[1] for mail in catcher.mails) == Counter(people)
    assert len({mail["Message-ID"] for mail in catcher.mails}) == 200


@contextmanager
def _observer(connection: Connection) -> Iterator[Connection]:
    """Give a second connection where there can be one that works beside the first."""
    if SERVER_URL is None:
        yield connection
        return
    with Database(connection.info.dsn, get_settings()).connect(autocommit=True) as other:
        yield other


def _is_transmitting(connection: Connection) -> bool:
    return connection.execute("SELECT transmitting_at IS NOT NULL FROM analytics_outbox").fetchall() == [(True,)]


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.faults
def test_a_signal_while_the_server_has_the_mail_lets_the_outcome_be_recorded_and_nothing_is_sent_twice(
    connection: Connection, catcher: Catcher, send: Send, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("ANALYTICS_SMTP_URL", f"smtp://127.0.0.1:{catcher.port}")
    put(connection, "a")
    put(connection, "b")
    catcher.silent_after_data = True
    with running("outbox", "send") as command:
        command.until(lambda: catcher.mails)
        command.send(signal.SIGTERM)
        catcher.silent_after_data = False
        catcher.speaks_again.set()
        code, _, said = command.result()
    assert (code, said) == (143, "SIGTERM: what was sent is recorded, and the rest stays due.\n")
    assert states(connection) == ["sent", "pending"]
    assert str(send()) == "1 sent"
    assert [mail["Subject"] for mail in catcher.mails] == ["subject a", "subject b"]


@pytest.mark.faults
def test_a_signal_before_a_server_has_the_mail_gives_it_back_at_once(
    connection: Connection, send: Send, environment: pytest.MonkeyPatch
) -> None:
    put(connection)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        environment.setenv("ANALYTICS_SMTP_URL", f"smtp://127.0.0.1:{mute.getsockname()[1]}")
        with running("outbox", "send") as command:
            mute.settimeout(60)
            conversation, _ = mute.accept()
            command.send(signal.SIGINT)
            assert command.result()[0] == 130
            conversation.close()
    assert (states(connection), problem(connection)) == (
        ["pending"],
        "the sender was stopped before it knew of a delivery",
    )
    pass_time(connection, minutes=5)
    assert str(send()) == "1 sent"
