"""Whether a company is known: a name that nobody has would have figures of nothing but zeros."""

from analytics_pipeline.errors import UnknownNameError
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.windows import Window


class UnknownCompanyError(UnknownNameError):
    """Neither an event nor a row names the company: what was asked for has another id, or is not there yet."""

    def __init__(self, company_id: str, remedy: str = "") -> None:
        """Name the company, and a further remedy."""
        also = f"; {remedy}" if remedy else ""
        super().__init__(
            f"No such company is known: {company_id!r}. Spell it as in the events, capitals and blanks included{also}."
        )


def is_known_company(connection: Connection, company_id: str) -> bool:
    """Return whether there is, or was before it expired, an event of the company, or it has a row or an API token."""
    return bool(fetch_row(connection, load_query("company_is_known"), {"company_id": company_id})[0])


def listed_companies(connection: Connection, window: Window) -> list[str]:
    """Return the companies that have figures in a window, a row of their own, or a token of the API, by id."""
    companies: list[str] = fetch_row(
        connection, "SELECT analytics_listed_companies(%s, %s)", [window.start, window.end]
    )[0]
    return companies


def require_known_company(connection: Connection, company_id: str | None) -> None:
    """Raise ``UnknownCompanyError`` for a company that nobody knows; None, all companies, always passes."""
    if company_id is not None and not is_known_company(connection, company_id):
        raise UnknownCompanyError(company_id)
