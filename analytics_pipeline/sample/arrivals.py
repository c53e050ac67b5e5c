"""Lets the sample's events have come in when they say so, and not all at once when they were loaded."""

from datetime import datetime

from analytics_pipeline.sample.generator import company_ids
from analytics_pipeline.sample.stream import ARRIVED_AT
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.windows import Granularity, Window


def date_arrivals(connection: Connection, span: Window, companies: int) -> int:
    """Set ``ingested_at`` of the sample's events of a span that were loaded after it, and return of how many.

    A late event came in when its metadata say, any other one as it happened. ``companies`` is how many the sample has.
    Repeating it changes nothing. Autocommit connection: each month is a transaction of its own.
    """
    parameters = {"companies": company_ids(companies), "arrived_at": ARRIVED_AT, "end": span.end}
    undated: list[datetime] = [
        month for (month,) in connection.execute(load_query("sample_undated"), {**parameters, "start": span.start})
    ]
    dated = 0
    for month in undated:
        window = {"month_start": month, "month_end": Granularity.MONTH.next(Granularity.MONTH.floor(month))}
        dated += connection.execute(load_query("sample_arrivals"), parameters | window).rowcount
    return dated
