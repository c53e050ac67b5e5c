"""Serves the application with uvicorn."""

from pathlib import Path

import uvicorn

from analytics_pipeline.api.app import create_app
from analytics_pipeline.settings import Settings


def run_server(settings: Settings, host: str, port: int, tls_cert: Path | None, tls_key: Path | None) -> None:
    """Serve until SIGINT or SIGTERM."""
    uvicorn.run(
        create_app(settings),
        host=host,
        port=port,
        ssl_certfile=tls_cert,
        ssl_keyfile=tls_key,
        server_header=False,
        # What is sent is small, and each compressor would keep a third of a megabyte for its client.
        ws_per_message_deflate=False,
        # Clients of live figures send a token at most.
        ws_max_size=16_384,
    )
