"""A real HTTP server that keeps what is posted to it, and answers as it is told."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Request:
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """What came in; ``answers`` are the statuses given in turn, then 204. 0: hang up without an answer.

    ``check`` judges what is posted, as JSON, and returns status and text of the answer, where ``answers`` has none.
    """

    port: int = 0
    requests: list[Request] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    location: str = ""
    silence: threading.Event = field(default_factory=threading.Event)
    is_silent: bool = False
    check: Callable[[Any], tuple[int, str]] | None = None

    @property
    def posted(self) -> list[Any]:
        return [json.loads(request.body) for request in self.requests]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks/alerts?key=1"


@contextmanager
def webhook_receiver() -> Iterator[Receiver]:
    """Run a server on loopback."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.requests.append(Request(self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            if receiver.is_silent:
                receiver.silence.wait(10)
            status, text = 204, ""
            if receiver.check is not None:
                status, text = receiver.check(json.loads(body))
            if receiver.answers:
                status = receiver.answers.pop(0)
            if status:
                self.send_response(status)
                if receiver.location:
                    self.send_header("Location", receiver.location)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield receiver
        receiver.silence.set()
        server.shutdown()
