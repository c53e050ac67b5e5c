"""What a report can be ordered as, beside its sections: its formats, its paper, its notation.

Apart from what renders one, so that whoever lists the choices loads none of it.
"""

from typing import Final, Literal, get_args

from analytics_pipeline.errors import UnknownNameError
from analytics_pipeline.intake.rejection import shown
from analytics_pipeline.messages.recipients import PDF, XLSX

Format = Literal["pdf", "xlsx", "csv", "json"]
PageSize = Literal["A4", "letter"]

CSV: Final = "csv"
JSON: Final = "json"
FORMATS: Final[tuple[Format, ...]] = (PDF, XLSX, CSV, JSON)
DEFAULT_PAGE_SIZE: Final[PageSize] = "A4"


def page_size_of(name: str) -> PageSize:
    """Return a page size by its name in any case; raises ``AnalyticsError`` naming the sizes there are."""
    sizes: tuple[PageSize, ...] = get_args(PageSize)
    for known in sizes:
        if known.lower() == name.lower():
            return known
    raise UnknownNameError(f"The page size {shown(name)} is not known; use {' or '.join(sizes)}.")
