"""Serves the application with uvicorn: one process, whose lines go to standard error."""

import errno
import logging
import socket
from pathlib import Path

import uvicorn

from analytics_pipeline.api.app import create_app
from analytics_pipeline.api.observing import JsonFormatter, TextFormatter
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.settings import Settings

# How long open requests may take once the server is asked to end; `up` waits for three.
_SHUTDOWN_SECONDS = 2


def run_server(settings: Settings, host: str, port: int, tls_cert: Path | None, tls_key: Path | None) -> None:
    """Serve until SIGINT or SIGTERM, over TLS with a certificate.

    Raises ``AnalyticsError`` for a certificate of no use, and for an address that can't be listened on.
    """
    _require_free(host, port)
    _configure_logs(settings)
    for file in filter(None, (tls_cert, tls_key)):
        if not file.is_file():
            raise AnalyticsError(f"Can't read {file}: --tls-cert and --tls-key name files in PEM.")
    try:
        config = uvicorn.Config(
            create_app(settings),
            host=host,
            port=port,
            ssl_certfile=tls_cert,
            ssl_keyfile=tls_key,
            server_header=False,
            # Each request has a line of ours, with its id.
            access_log=False,
            log_config=None,
            timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
            # What is sent live is small, and each compressor would keep a third of a megabyte for its client.
            ws_per_message_deflate=False,
            # Clients of live figures send a token at most.
            ws_max_size=16_384,
        )
        config.load()
    except OSError as error:
        raise AnalyticsError(f"{tls_cert} and {tls_key} are no certificate and its key: {error}.") from error
    uvicorn.Server(config).run()


def _require_free(host: str, port: int) -> None:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in found:
            with socket.socket(family, kind, protocol) as tried:
                tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    tried.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                tried.bind(address)
    except OSError as error:
        # Of a name with several addresses one may be usable, whatever is wrong with another: the server will see.
        if isinstance(error, socket.gaierror) or error.errno in {errno.EADDRINUSE, errno.EACCES}:
            raise AnalyticsError(f"Can't listen on {host}:{port}: {error.strerror}.") from error


def _configure_logs(settings: Settings) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if settings.api_log == "json" else TextFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    # Its lines about sockets hold the address with the query, which may name a company.
    logging.getLogger("uvicorn.error").addFilter(lambda record: "WebSocket %s" not in str(record.msg))
    # Its lines about connections repeat what we say ourselves.
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
