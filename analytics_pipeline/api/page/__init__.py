"""The dashboard page, static files served at ``/``."""

from fastapi import FastAPI


def add_page(app: FastAPI) -> None:
    """Serve the page; called last, so that it takes no address of the API's."""
