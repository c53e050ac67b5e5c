"""Months that were signed off: who signed them, and what differs from the signed figures since."""

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.types.json import Jsonb

from analytics_pipeline.errors import AnalyticsError, ArgumentError, RefusedError
from analytics_pipeline.languages.wording import message, plural, recognised
from analytics_pipeline.metrics.rates import RATES, Unit, answer_key
from analytics_pipeline.metrics.scope import DEFINITIONS_VERSION
from analytics_pipeline.metrics.tables import MRR_MOVEMENTS, REVENUE_METRICS, USER_METRICS
from analytics_pipeline.timescale import audit
from analytics_pipeline.timescale.connection import Connection, one_state
from analytics_pipeline.windows import Window

MAX_NAME_CHARACTERS = 200
MAX_REASON_CHARACTERS = 1_000
_MAX_OBSTACLES = 5
_MAX_PAIRS = 3
# As the database says it.
_CHANGED = (message("{before} before, {now} now", before="{before}", now="{now}"),)
_EARLIER = (
    message("{number} of them of earlier months", number="{number}"),
    message("of earlier months"),
)
_is_month = re.compile(r"(19[7-9]\d|20\d\d|21\d\d)-(0[1-9]|1[0-2])", re.ASCII).fullmatch


@dataclass(frozen=True, slots=True)
class KeptFigure:
    """A figure that a sign-off keeps: its metric table and column, its name in answers, what people call it."""

    metric: str
    column: str
    unit: Unit
    name: str
    label: str


def _kept(metric: str, unit: Unit, columns: Mapping[str, str]) -> list[KeptFigure]:
    return [KeptFigure(metric, column, unit, answer_key(column), label) for column, label in columns.items()]


def _kept_figures() -> tuple[KeptFigure, ...]:
    revenue, movements, users = REVENUE_METRICS.metric, MRR_MOVEMENTS.metric, USER_METRICS.metric
    moved = {
        "start_mrr": ("start", message("MRR at the start")),
        "new": ("new", message("New MRR")),
        "reactivation": ("reactivation", message("Reactivated MRR")),
        "expansion": ("expansion", message("Expansion of MRR")),
        "contraction": ("contraction", message("Contraction of MRR")),
        "churn": ("churn", message("Churned MRR")),
        "fx": ("fx", message("Effect of rates on MRR")),
        "end_mrr": ("end", message("MRR at the end, converted at both ends")),
    }
    return (
        *_kept(
            revenue,
            Unit.MONEY,
            {
                "total_revenue": message("Total revenue"),
                "invoiced": message("Invoiced"),
                "refunds": message("Refunds"),
                "mrr": message("MRR"),
                "arr": message("ARR"),
                "arpa": message("ARPA"),
                "average_revenue_per_user": message("Average revenue per user"),
            },
        ),
        *_kept(revenue, Unit.PERCENT, {"revenue_growth": message("Growth of total revenue")}),
        *_kept(revenue, Unit.COUNT, {"paying_customers": message("Paying customers")}),
        *(
            KeptFigure(movements, column, Unit.MONEY, f"mrrMovements.{name}", label)
            for column, (name, label) in moved.items()
        ),
        *(KeptFigure(movements, name, rate.unit, answer_key(name), rate.title) for name, rate in RATES.items()),
        *_kept(
            users,
            Unit.COUNT,
            {
                "total_users": message("Total users"),
                "active_users": message("Active users"),
                "new_users": message("New users"),
                "churned_users": message("Churned users"),
                "users_at_start": message("Users at the start"),
                "active_before": message("Active in the period before"),
            },
        ),
        *_kept(
            users,
            Unit.PERCENT,
            {
                "churn_rate": message("Churn rate"),
                "active_user_rate": message("Active user rate"),
                "churn_rate_of_start": message("Churn rate of those active before"),
            },
        ),
    )


# In the order in which they are listed.
KEPT_FIGURES = _kept_figures()
_BY_COLUMN = {(figure.metric, figure.column): figure for figure in KEPT_FIGURES}


@dataclass(frozen=True, slots=True)
class Restatement:
    """A figure that differs from the signed one, both rounded as they are shown (None: undefined).

    ``name`` is that of the answers; ``difference`` is None where one of the two is undefined.
    """

    name: str
    label: str
    unit: Unit
    before: Decimal | None
    after: Decimal | None
    difference: Decimal | None


def utc_minute(instant: datetime) -> str:
    """Return an aware instant in UTC, to the minute: ``2026-01-31 23:59 UTC``."""
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


@dataclass(frozen=True, slots=True)
class Cause:
    """What has changed under a signed month: a kind, how many, the first and the last arrival (UTC), and details."""

    kind: str
    number: int | None = None
    first: datetime | None = None
    last: datetime | None = None
    detail: str | None = None

    def __str__(self) -> str:
        """Say it in a few words."""
        return str(self.words())

    def words(
        self, counted: Callable[[int], str] = "{:,}".format, dated: Callable[[datetime], str] = utc_minute
    ) -> str:
        """Return it in a few words, which can be said in other languages; ``counted`` and ``dated`` write figures."""
        detail, number = self.detail or "", self.number or 0
        first, last = (message("an unknown day") if at is None else dated(at) for at in (self.first, self.last))
        many = counted(number)
        said: str
        match self.kind:
            case "definitions":
                said = message("another version of the definitions: {versions}", versions=_changed(detail))
            case "currency":
                said = message("another reporting currency: {currencies}", currencies=_changed(detail))
            case "late events":
                late = plural(
                    "{number} late event, the first on {instant}",
                    "{number} late events, the first on {instant}",
                    number,
                    number=many,
                    instant=first,
                )
                earlier = recognised(detail, _EARLIER)
                said = message("{events}, {detail}", events=late, detail=earlier) if detail else late
            case "replaced events":
                said = plural(
                    "{number} event replaced, the first on {instant}",
                    "{number} events replaced, the first on {instant}",
                    number,
                    number=many,
                    instant=first,
                )
            case "rates":
                said = plural(
                    "{number} rate of exchange loaded since ({pairs})",
                    "{number} rates of exchange loaded since ({pairs})",
                    number,
                    number=many,
                    pairs=_pairs(detail),
                )
            case "renamed ids":
                said = plural(
                    "{number} renamed company or user",
                    "{number} renamed companies or users",
                    number,
                    number=many,
                )
            case "closed again" if detail:
                said = message(
                    "closed again on {instant}, and its events have expired since: why can't be told any more",
                    instant=last,
                )
            case "closed again":
                said = message(
                    "closed again on {instant} without a late event: events were removed, or changed directly in the "
                    "database",
                    instant=last,
                )
            case other:
                said = other
        return said


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """When a sign-off was withdrawn, by whom, and why."""

    at: datetime
    by: str
    because: str


@dataclass(frozen=True, slots=True)
class SignOff:
    """A signed month of a company, None: of all together. Instants are UTC.

    ``document_id`` and ``document_sha256`` are of the signed document; ``document_is_current``: no later revision
    counts. ``restatements`` are the figures that differ now, ``causes`` what has changed since; a withdrawn one has
    neither.
    """

    signoff_id: int
    company_id: str | None
    month: Window
    signed_by: str
    signed_at: datetime
    definitions_version: int
    currency: str
    document_id: int
    document_sha256: str
    document_is_current: bool
    withdrawal: Withdrawal | None
    restatements: Sequence[Restatement]
    causes: Sequence[Cause]

    @property
    def period(self) -> str:
        """The month as documents name it: ``2026-10``."""
        return f"{self.month.start:%Y-%m}"

    @property
    def is_restated(self) -> bool:
        """Whether a figure differs from the signed one."""
        return bool(self.restatements)

    @property
    def differs_by_definition(self) -> bool:
        """Whether figures can't be compared, since they follow other definitions now or are in another currency."""
        return bool(self.causes) and not self.restatements


def sign_month(
    connection: Connection,
    month: Window,
    signed_by: str,
    currency: str,
    company_id: str | None,
    *,
    actor: str | None,
    time_zone: str = "UTC",
) -> list[str | None]:
    """Sign a calendar month off and return whose: a company's, or with None that of all together (None) and of each.

    ``month`` (UTC) names the month, which of a company is that of its own time zone. ``currency`` and ``time_zone`` are
    the platform's, ``actor`` the name of an access token (None: this process's
    user). Raises ``RefusedError`` with the reasons, and nothing is signed, unless the month is over, closed and not
    stale, and its checks hold.
    """
    name = _named(signed_by, "who signs", MAX_NAME_CHARACTERS)
    figures = [
        {"metric": figure.metric, "figure": figure.column, "unit": str(figure.unit), "place": place}
        for place, figure in enumerate(KEPT_FIGURES)
    ]
    values = [
        company_id,
        month.start,
        name,
        actor or audit.local_actor(),
        DEFINITIONS_VERSION,
        currency,
        time_zone,
        Jsonb(figures),
    ]
    query = "SELECT company_id, obstacle FROM analytics_sign_month(%s, %s, %s, %s, %s, %s, %s, %s)"
    try:
        # What is judged and what is kept are of one instant; a transaction that is open has to be as strict.
        is_idle = connection.info.transaction_status is TransactionStatus.IDLE
        with one_state(connection, read_only=False) if is_idle else nullcontext():
            rows = connection.execute(query, values).fetchall()
    except (psycopg.errors.UniqueViolation, psycopg.errors.SerializationFailure) as error:
        raise RefusedError(f"{month.start:%Y-%m} was signed by somebody else at this moment.") from error
    if obstacles := [_of(company, obstacle) for company, obstacle in rows if obstacle is not None]:
        named = "; ".join(obstacles[:_MAX_OBSTACLES])
        more = f"; and {len(obstacles) - _MAX_OBSTACLES} more" if len(obstacles) > _MAX_OBSTACLES else ""
        raise RefusedError(f"{month.start:%Y-%m} can't be signed off: {named}{more}.")
    return [company for company, _ in rows]


def withdraw_signoffs(
    connection: Connection, month: Window, withdrawn_by: str, because: str, company_id: str | None, *, actor: str | None
) -> list[str | None]:
    """Withdraw what is signed of a month, of a company or with None of everybody, and return whose that was.

    Raises ``AnalyticsError`` without a reason, and where nothing is signed.
    """
    name = _named(withdrawn_by, "who withdraws", MAX_NAME_CHARACTERS)
    reason = _named(because, "the reason", MAX_REASON_CHARACTERS)
    query = "SELECT * FROM analytics_withdraw_signoffs(%s, %s, %s, %s, %s)"
    values = [company_id, month.start, name, reason, actor or audit.local_actor()]
    withdrawn = [company for (company,) in connection.execute(query, values)]
    if not withdrawn:
        of = "" if company_id is None else f" of the company {company_id!r}"
        raise RefusedError(f"{month.start:%Y-%m}{of} is not signed off: there is nothing to withdraw.")
    return withdrawn


def read_signoffs(
    connection: Connection, company_id: str | None, window: Window | None = None, *, withdrawn: bool = False
) -> list[SignOff]:
    """Return the sign-offs of months that begin in a window (None: ever), the newest month first.

    Of a company; with None of every company and of all together. Withdrawn ones only if they are asked for.
    """
    cursor = connection.execute(
        "SELECT * FROM analytics_signoffs_of(%s, %s, %s)",
        [company_id, window and window.start, window and window.end],
    )
    names = [column.name for column in cursor.description or ()]
    found = [_signoff(dict(zip(names, row, strict=True))) for row in cursor]
    return [signoff for signoff in found if withdrawn or signoff.withdrawal is None]


def month_of(text: str) -> Window:
    """Return the calendar month (UTC) that is written as ``2026-10``; raises ``AnalyticsError`` for anything else."""
    if not _is_month(text):
        raise AnalyticsError(f"The month {text!r} is none: write it like 2026-10.")
    return Window.of_month(date(int(text[:4]), int(text[5:]), 1))


def _signoff(row: Mapping[str, Any]) -> SignOff:
    withdrawal = None
    if row["withdrawn_at"] is not None:
        withdrawal = Withdrawal(row["withdrawn_at"], row["withdrawn_by"], row["withdrawn_because"])
    return SignOff(
        signoff_id=row["signoff_id"],
        company_id=row["company_id"],
        month=Window(row["period_start"], row["period_end"]),
        signed_by=row["signed_by"],
        signed_at=row["signed_at"],
        definitions_version=row["definitions_version"],
        currency=row["currency"],
        document_id=row["document_id"],
        document_sha256=row["document_sha256"],
        document_is_current=row["document_is_current"],
        withdrawal=withdrawal,
        restatements=tuple(_restatement(entry) for entry in row["restatements"]),
        causes=tuple(_cause(entry) for entry in row["causes"]),
    )


def _restatement(entry: Mapping[str, Any]) -> Restatement:
    figure = _BY_COLUMN.get((entry["metric"], entry["figure"]))
    before, after, difference = (
        None if entry[name] is None else Decimal(entry[name]) for name in ("before", "after", "difference")
    )
    return Restatement(
        figure.name if figure else answer_key(entry["figure"]),
        figure.label if figure else entry["figure"],
        Unit(entry["unit"]),
        before,
        after,
        difference,
    )


def _cause(entry: Mapping[str, Any]) -> Cause:
    first, last = (
        None if entry.get(name) is None else datetime.fromisoformat(entry[name]) for name in ("first", "last")
    )
    return Cause(entry["cause"], entry.get("number"), first, last, entry.get("detail"))


def _named(text: str, what: str, most: int) -> str:
    stripped = " ".join(text.split())
    if not stripped:
        raise ArgumentError(f"Say {what}: the text is empty.")
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in stripped):
        raise ArgumentError(f"The text for {what} holds control characters: leave them out.")
    if len(stripped) > most:
        raise ArgumentError(f"The text for {what} has more than {most} characters: shorten it.")
    return stripped


def _of(company_id: str | None, obstacle: str) -> str:
    return obstacle.rstrip(".") if company_id is None else f"{company_id}: {obstacle.rstrip('.')}"


def _pairs(listed: str) -> str:
    pairs = listed.split(", ")
    named = ", ".join(pairs[:_MAX_PAIRS])
    more = len(pairs) - _MAX_PAIRS
    return message("{pairs} and {number} more pairs", pairs=named, number=more) if more > 0 else named


def _changed(detail: str) -> str:
    """Return the words of what was and is: ``EUR before, USD now``."""
    return recognised(detail, _CHANGED)
