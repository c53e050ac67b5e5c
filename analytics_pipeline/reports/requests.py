"""Reports asked for by a row of ``analytics_report_requests``.

A request is ``requested`` until a run claims it, ``running`` while that run makes it, and ends as ``done`` with the
place of its document or as ``failed`` with the reason. Making a report again is harmless: the same data gives the
same bytes under the same name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from analytics_pipeline.companies.known import require_known_company
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.reports.order import AcceptedOrder, ReportOrder, accept_order
from analytics_pipeline.reports.publish import PublishedReport, publish_order
from analytics_pipeline.settings import Settings
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.clock import check_clock
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.waiting import LockTimeoutError


@dataclass(frozen=True, slots=True)
class ReportRequest:
    """A request as it was written down: ``asked`` are the fields of a ``ReportOrder``, not judged yet.

    ``run_id`` is the run that claimed it.
    """

    request_id: int
    asked: Mapping[str, Any]
    state: str
    run_id: str | None

    @classmethod
    def of_row(cls, row: Sequence[Any]) -> "ReportRequest":
        """Read a row: its number, the fields of an order in theirs, its state, its run."""
        request_id, *asked, state, run_id = row
        return cls(request_id, dict(zip(ReportOrder.model_fields, asked, strict=True)), state, run_id)

    def order(self) -> ReportOrder:
        """Return what is asked for; raises ``AnalyticsError`` naming what can't be made of it."""
        # A row may say nothing by an empty text.
        return ReportOrder.of(
            {**self.asked, "currency": self.asked["currency"] or None, "locale": self.asked["locale"] or None}
        )

    def accept(self, connection: Connection, settings: Settings, now: datetime) -> AcceptedOrder:
        """Return what is to be made at ``now``, the database's time; raises as ``accept_order`` does."""
        return accept_order(connection, settings, self.order(), now)


def open_requests(connection: Connection, most: int) -> list[ReportRequest]:
    """Return the oldest requests that wait or are being met."""
    rows = connection.execute(load_query("report_requests_open"), {"most": most}).fetchall()
    return [ReportRequest.of_row(row) for row in rows]


def meet(connection: Connection, settings: Settings, request_id: int, run_id: str) -> PublishedReport:
    """Claim a request for a run, publish what it asks for, and write down how that ended; autocommit connection.

    What is asked for is read as it is claimed: changes after that are another request. Raises ``AnalyticsError`` when
    another run makes it or it is done, and when the report can't be made, which fails the request. Any other error,
    a lock that was waited for too long, and ``ClockError``, leave the request to its run: repeated it goes on, given up
    it is released by ``release``.
    """
    now = check_clock(connection)
    parameters = {"request_id": request_id, "run_id": run_id}
    claimed = connection.execute(load_query("report_request_claim"), parameters).fetchone()
    if claimed is None:
        raise AnalyticsError(
            f"The report request {request_id} is not there, is done, or another run makes it: see "
            "analytics_report_requests."
        )
    try:
        order = ReportRequest.of_row(claimed).order()
        require_known_company(connection, order.company_id)
        published = publish_order(connection, settings, accept_order(connection, settings, order, now))
    except LockTimeoutError:
        # Nothing is wrong with the request.
        raise
    except AnalyticsError as error:
        fail(connection, request_id, str(error), run_id)
        raise
    made = {"uri": published.uri, "pages": published.pages, "size": published.size, "sha256": published.sha256}
    if connection.execute(load_query("report_request_done"), {**parameters, **made}).rowcount != 1:
        raise AnalyticsError(
            f"The report request {request_id} was given to another run: see analytics_report_requests."
        )
    return published


def fail(connection: Connection, request_id: int, problem: str, run_id: str | None) -> None:
    """End a request that a run holds (None: none does) without a document; ``problem`` says why, and what to do."""
    parameters = {"request_id": request_id, "problem": problem, "run_id": run_id}
    connection.execute(load_query("report_request_failed"), parameters)


def release(connection: Connection, request: ReportRequest) -> bool:
    """Take a request back from a run that is over; return whether it waits now, and is not done after all."""
    if request.run_id is None:
        return True
    parameters = {"request_id": request.request_id, "run_id": request.run_id}
    return connection.execute(load_query("report_request_release"), parameters).rowcount == 1
