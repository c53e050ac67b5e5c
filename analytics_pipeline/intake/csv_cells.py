"""Lines of CSV files of a few columns, whose cells hold no line breaks, as their cells."""

import csv

from analytics_pipeline.intake.bounded_lines import LongLine, decode_line
from analytics_pipeline.intake.rejection import RejectedEvent

Line = bytes | LongLine


def is_blank(line: Line) -> bool:
    """Return whether a line holds nothing but blanks."""
    return line.is_blank if isinstance(line, LongLine) else line.isspace()


def line_text(line: Line) -> str:
    """Return a line, of one that is too long its beginning, as it is kept with the reason why it was rejected."""
    text = line.beginning if isinstance(line, LongLine) else line
    return text.decode("utf-8", "backslashreplace").rstrip("\r\n")


def cells_of(line: Line, separator: str = ",") -> list[str]:
    """Return the cells of a line without the blanks around them. Raises ``RejectedEvent`` for what is no CSV."""
    if isinstance(line, LongLine):
        raise line.rejection
    try:
        row = next(csv.reader([decode_line(line)], delimiter=separator, strict=True), [])
    except csv.Error as error:
        raise RejectedEvent("not CSV", f"not CSV: {error}; check the quotes.") from error
    return [cell.strip() for cell in row]


def check_count(cells: list[str], header: list[str]) -> None:
    """Raise ``RejectedEvent`` unless a line has as many cells as the header."""
    if len(cells) != len(header):
        raise RejectedEvent(
            "wrong number of cells",
            f"{len(cells)} cells where the header has {len(header)}: check commas and quotes.",
        )
