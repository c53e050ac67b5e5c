"""The API with its page on a port of this machine, in a thread, as ``serve`` runs it."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import uvicorn
from fastapi import FastAPI

from analytics_pipeline.api.app import create_app
from analytics_pipeline.api.scopes import Scope
from analytics_pipeline.api.tokens import create_token
from analytics_pipeline.events.record import record_event
from analytics_pipeline_tests.conftest import Database

_SECONDS = 30.0


@dataclass(frozen=True)
class Served:
    """A running API over a database: its host with the port, and the application."""

    database: Database
    host: str
    app: FastAPI

    def new_token(self, company: str | None, *scopes: Scope) -> str:
        """Make a token that reads figures and reports, or has other scopes, and return it."""
        return self.new_token_with_id(company, *scopes)[1]

    def new_token_with_id(self, company: str | None, *scopes: Scope) -> tuple[str, str]:
        with self.database.connect(autocommit=True) as connection:
            wanted = scopes or (Scope.FIGURES, Scope.REPORTS)
            return create_token(connection, "test", company, wanted, timedelta(days=1))

    def pay(self, company: str, amount: str) -> None:
        """Record a payment of now."""
        with self.database.connect() as connection:
            record_event(company, "u1", "payment.received", "revenue", amount, "EUR", connection=connection)


@contextmanager
def serving(database: Database) -> Iterator[Served]:
    """Serve the API inside the block."""
    app = create_app(database.settings)
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", ws_per_message_deflate=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until = time.monotonic() + _SECONDS
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            assert time.monotonic() < until, "the server did not start in time"
            time.sleep(0.01)
        yield Served(database, f"127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", app)
    finally:
        server.should_exit = True
        thread.join()
