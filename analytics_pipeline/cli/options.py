"""What the commands' options share: naming a company that has to be known."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import click

from analytics_pipeline.companies.known import UnknownCompanyError, is_known_company
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.timescale.connection import Connection

_Command = TypeVar("_Command", bound=Callable[..., None])
_ALLOWED = f"{__name__}.allow_unknown"


def allow_unknown_option(command: _Command) -> _Command:
    """Add ``--allow-unknown`` to a command that takes a company; ``require_company`` goes by it."""
    return click.option(
        "--allow-unknown",
        is_flag=True,
        expose_value=False,
        callback=lambda context, _, value: context.meta.update({_ALLOWED: value}),
        help="Take a company that no event names, too: its figures are zeros.",
    )(command)


def require_company(connection: Connection, company: str | None) -> None:
    """Raise ``UnknownCompanyError`` for a company that nobody knows, unless the command was given --allow-unknown."""
    context = click.get_current_context()
    if company is None or context.meta.get(_ALLOWED) or is_known_company(connection, company):
        return
    raise UnknownCompanyError(company, "--allow-unknown takes it as it is" if _ALLOWED in context.meta else "")


@contextmanager
def company_first(connection: Connection, company: str | None) -> Iterator[None]:
    """Have an error about what a company has not say that nobody knows the company, where that is so."""
    try:
        yield
    except AnalyticsError:
        require_company(connection, company)
        raise
