"""The ECB's tables in XML, the day's and the histories alike, into the texts of rates."""

from xml.parsers import expat

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.fx.exchange_rates import RateFields

# The reference rates of the European Central Bank are units of a currency for one euro.
ECB_BASE = "EUR"


def is_xml(content: bytes) -> bool:
    """Return whether a source is XML and not CSV."""
    return content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")


def read_ecb_xml(content: bytes, name: str) -> list[tuple[int, list[RateFields]]]:
    """Return the rates with the lines they stand on; ``name`` is what errors call the source.

    Raises ``AnalyticsError`` for what is no such table: no XML, damaged, with a document type, or without any rate.
    """
    found: list[tuple[int, list[RateFields]]] = []
    day = ""

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal day
        if tag.rpartition(":")[2] != "Cube":
            return
        day = attributes.get("time", day)
        if "currency" in attributes:
            rate = (day, ECB_BASE, attributes["currency"], attributes.get("rate", ""))
            found.append((parser.CurrentLineNumber, [rate]))

    def refuse(*_: object) -> None:
        # Entities of its own could be made to fill the memory.
        raise AnalyticsError(f"{name} is XML with a document type: the ECB's tables have none.")

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(content, True)  # noqa: FBT003  # expat takes it by position
    except expat.ExpatError as error:
        raise AnalyticsError(f"{name} is no whole XML: {error}. Fetch it again.") from error
    if not found:
        raise AnalyticsError(
            f"{name} is XML without rates: the ECB's tables hold Cube elements with currency and rate."
        )
    return found
