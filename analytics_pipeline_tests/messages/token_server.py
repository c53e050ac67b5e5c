"""A server that gives access tokens for the right forms, and refuses as it is told."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl

Check = Callable[[dict[str, str]], bool]


class Tokens:
    """A server of tokens that gives one for each form that it finds right."""

    def __init__(self) -> None:
        self.given: list[str] = []
        self.path = "/token"
        self.check: Check = lambda form: False
        self.seconds: object = 3600
        self.refusal: dict[str, object] = {"error": "invalid_client"}
        self.redirects_to: str | None = None
        self.url = ""

    def answer(self, path: str, form: dict[str, str]) -> tuple[int, dict[str, object]]:
        if path != self.path or not self.check(form):
            return 401, self.refusal
        self.given.append(f"ya29.token-{len(self.given)}")
        return 200, {"access_token": self.given[-1], "token_type": "Bearer", "expires_in": self.seconds}


@contextmanager
def token_server() -> Iterator[Tokens]:
    """Run a server of tokens on loopback."""
    served = Tokens()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"])).decode("ascii")
            assert self.headers["Content-Type"] == "application/x-www-form-urlencoded"
            status, answer = served.answer(self.path, dict(parse_qsl(content, strict_parsing=True)))
            if served.redirects_to:
                status = 307
            body = json.dumps(answer).encode()
            self.send_response(status)
            if served.redirects_to:
                self.send_header("Location", served.redirects_to)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    served.url = f"http://127.0.0.1:{server.server_port}"
    yield served
    server.shutdown()
    server.server_close()
    thread.join()
