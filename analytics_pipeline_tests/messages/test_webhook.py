"""A webhook gets each message signed and recognisable, and what it answers decides what becomes of it."""

import base64
import hashlib
import hmac
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
import trustme

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.messages.channel import NotDelivered, Refused
from analytics_pipeline.messages.channels.webhook import WebhookChannel
from analytics_pipeline.messages.message import ClaimedMessage
from analytics_pipeline.messages.timeouts import Timeouts
from analytics_pipeline.settings import Settings
from analytics_pipeline_tests.messages.sample_messages import no_mark
from analytics_pipeline_tests.messages.webhook_catcher import Receiver, webhook_receiver

MESSAGE = ClaimedMessage(
    outbox_id=1,
    kind="alert",
    channel="webhook",
    target="ops",
    subject="s",
    text='{"text": "10 \u20ac"}',
    html=None,
    attachment=None,
    message_id="<alert-1.2@example.com>",
)
KEY = b"k" * 32
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with webhook_receiver() as receiver:
        yield receiver


def _channel(url: str, key: bytes | None = None, *, patience: float = 5) -> WebhookChannel:
    return WebhookChannel({"ops": url}, key, timeouts=Timeouts(patience, patience))


def _settings(**values: str) -> Settings:
    return Settings(**values)  # type: ignore[arg-type]


def test_a_message_is_posted_as_json_signed_and_with_the_same_id_every_time(receiver: Receiver) -> None:
    channel = WebhookChannel.from_settings(_settings(webhooks=f"ops={receiver.url}", webhook_secret=SECRET))
    assert channel is not None
    channel.send(MESSAGE, no_mark)
    channel.send(MESSAGE, no_mark)
    channel.send(replace(MESSAGE, message_id="<alert-2.2@example.com>"), no_mark)
    first, again, other = receiver.requests
    assert (first.path, first.body) == ("/hooks/alerts?key=1", MESSAGE.text.encode())
    assert first.headers["content-type"] == "application/json"
    assert first.headers["webhook-id"] == again.headers["webhook-id"] != other.headers["webhook-id"]
    signed = f"{first.headers['webhook-id']}.{first.headers['webhook-timestamp']}.".encode() + first.body
    expected = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
    assert first.headers["webhook-signature"] == f"v1,{expected}"


def test_nothing_is_signed_without_a_secret(receiver: Receiver) -> None:
    _channel(receiver.url).send(MESSAGE, no_mark)
    assert "webhook-signature" not in receiver.requests[0].headers


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_any_success_is_sent(receiver: Receiver, status: int) -> None:
    receiver.answers = [status]
    _channel(receiver.url).send(MESSAGE, no_mark)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 0])
def test_what_may_pass_is_tried_again(receiver: Receiver, status: int) -> None:
    receiver.answers = [status]
    with pytest.raises(NotDelivered) as error:
        _channel(receiver.url).send(MESSAGE, no_mark)
    assert not isinstance(error.value, Refused)
    assert "key=1" not in str(error.value)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 413, 422])
def test_what_is_refused_is_not_tried_again(receiver: Receiver, status: int) -> None:
    receiver.answers = [status]
    with pytest.raises(Refused, match=f"the webhook ops refused the message: {status}"):
        _channel(receiver.url).send(MESSAGE, no_mark)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(receiver: Receiver, status: int) -> None:
    with webhook_receiver() as elsewhere:
        receiver.answers, receiver.location = [status], elsewhere.url
        with pytest.raises(Refused, match=rf"redirects \({status}\), which is not followed"):
            _channel(receiver.url).send(MESSAGE, no_mark)
        assert elsewhere.requests == []
    assert len(receiver.requests) == 1


def test_silence_after_the_message_is_tried_again_because_the_receiver_can_tell(receiver: Receiver) -> None:
    receiver.is_silent = True
    with pytest.raises(NotDelivered, match="the webhook ops can't be reached"):
        _channel(receiver.url, patience=0.2).send(MESSAGE, no_mark)
    assert len(receiver.requests) == 1


@pytest.mark.slow
def test_an_answer_that_drips_is_not_waited_for_for_ever() -> None:
    def drip(listener: socket.socket) -> None:
        client, _ = listener.accept()
        with client:
            try:
                while not stopped.wait(0.02):
                    client.sendall(b"x")
            except OSError:
                pass

    stopped = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=[listener])
        thread.start()
        channel = WebhookChannel(
            {"ops": f"http://127.0.0.1:{listener.getsockname()[1]}/"}, timeouts=Timeouts(step=5, answer=0.3)
        )
        with pytest.raises(NotDelivered):
            channel.send(MESSAGE, no_mark)
        stopped.set()
        thread.join()


def test_one_that_cannot_be_reached_is_asked_once_a_round(receiver: Receiver) -> None:
    receiver.answers = [0]
    channel = _channel(receiver.url)
    for _ in range(3):
        with pytest.raises(NotDelivered, match="can't be reached"):
            channel.send(MESSAGE, no_mark)
    assert len(receiver.requests) == 1
    _channel(receiver.url).send(MESSAGE, no_mark)


def test_a_server_that_is_not_there_and_a_name_that_is_gone_are_tried_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(NotDelivered, match=r"the webhook ops can't be reached: .*refused"):
        _channel(f"http://127.0.0.1:{port}").send(MESSAGE, no_mark)
    with pytest.raises(NotDelivered, match="ANALYTICS_WEBHOOKS has no 'gone'"):
        _channel("http://127.0.0.1").send(replace(MESSAGE, target="gone"), no_mark)


def test_a_certificate_nobody_trusts_ends_the_conversation_before_the_message() -> None:
    received: list[bytes] = []

    def serve(listener: socket.socket) -> None:
        client, _ = listener.accept()
        with client:
            try:
                with context.wrap_socket(client, server_side=True) as encrypted:
                    received.append(encrypted.recv(65536))
            except OSError:
                pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=[listener])
        thread.start()
        with pytest.raises(NotDelivered, match="CERTIFICATE_VERIFY_FAILED"):
            _channel(f"https://127.0.0.1:{listener.getsockname()[1]}/secret").send(MESSAGE, no_mark)
        thread.join()
    assert received in ([], [b""])


def test_addresses_have_names() -> None:
    text = " ops=https://a.example.com/x?y=1&z=,\n chat-2=http://localhost:8080/ six=http://[::1]/ "
    assert WebhookChannel.names(_settings(webhooks=text)) == {
        "ops": "https://a.example.com/x?y=1&z=,",
        "chat-2": "http://localhost:8080/",
        "six": "http://[::1]/",
    }
    assert WebhookChannel.names(_settings()) == {}
    assert WebhookChannel.from_settings(_settings()) is None


@pytest.mark.parametrize(
    "text",
    [
        "https://hooks.example.com/SECRET",
        "Ops=https://hooks.example.com/SECRET",
        "ops=http://hooks.example.com/SECRET",
        "ops=http://127.0.0.1.example.com/SECRET",
        "ops=ftp://hooks.example.com/SECRET",
        "ops=https:///SECRET",
        "ops=https://SECRET:x@hooks.example.com/",
        "ops=https://hooks.example.com:port/SECRET",
        "ops=https://hooks.example.com/#SECRET",
        "ops=https://hooks.example.com/S\u00c9CRET-SECRET",
        "ops=https://a.example.com/SECRET ops=https://b.example.com/",
    ],
)
def test_an_address_that_is_not_safe_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(AnalyticsError, match=r"ANALYTICS_WEBHOOKS can't be used: .*Write it like") as refusal:
        WebhookChannel.names(_settings(webhooks=text))
    assert "SECRET" not in str(refusal.value)


@pytest.mark.parametrize("secret", ["short", "whsec_c2hvcnQ=", "whsec_!!!", SECRET.removeprefix("whsec_")])
def test_a_secret_of_another_form_is_refused(secret: str) -> None:
    with pytest.raises(AnalyticsError, match="ANALYTICS_WEBHOOK_SECRET has to be 'whsec_'") as refusal:
        WebhookChannel.from_settings(_settings(webhooks="ops=https://a.example.com/", webhook_secret=secret))
    assert secret not in str(refusal.value)
