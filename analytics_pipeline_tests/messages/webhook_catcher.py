"""A real HTTP server that keeps what is posted to it, and answers as it is told."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Request:
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """What came in; ``answers`` are the statuses given in turn, then 204. 0: hang up without an answer."""

    port: int = 0
    requests: list[Request] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    location: str = ""
    silence: threading.Event = field(default_factory=threading.Event)
    is_silent: bool = False

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
            status = receiver.answers.pop(0) if receiver.answers else 204
            if status:
                self.send_response(status)
                if receiver.location:
                    self.send_header("Location", receiver.location)
                self.send_header("Content-Length", "0")
                self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield receiver
        receiver.silence.set()
        server.shutdown()
