"""The answers as OpenAPI describes them. Nothing is written by these: a test compares them with what is answered."""

from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, create_model
from pydantic.alias_generators import to_camel

from analytics_pipeline.metrics.rates import RATES, Unit

Number = Annotated[
    Any,
    WithJsonSchema({"type": ["number", "string"], "description": "A string of the same digits with numbers=string."}),
]
OptionalNumber = Annotated[
    Any,
    WithJsonSchema(
        {
            "type": ["number", "string", "null"],
            "description": "Null where the base is 0, an amount of it has no rate, or events it needs have expired. "
            "A string with numbers=string.",
        }
    ),
]
Instant = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
OptionalInstant = Annotated[str | None, WithJsonSchema({"type": ["string", "null"], "format": "date-time"})]


class Described(BaseModel):
    """What all answers share."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel)


class Period(Described):
    """Whom and which period an answer is of, and how far the data reach."""

    company_id: str | None = Field(description="Null: all companies together.")
    start_date: date
    end_date: date
    time_zone: str = Field(description="Whose days and months they are (IANA), and whose dates rates are of.")
    as_of: Instant = Field(description="The instant that balances are of.")
    data_through: OptionalInstant = Field(description="The newest event of the whole data set; null without any.")
    provisional: bool = Field(description="Whether the period has not ended yet.")
    definitions_version: int = Field(description="The version of docs/DEFINITIONS.md that the figures follow.")


class Unconverted(Described):
    """An amount that a figure lacks for want of a rate, in its own currency."""

    figure: str
    part: str | None = Field(None, json_schema_extra={"type": "string"})
    currency: str
    amount: Number
    first_date: date
    last_date: date


class Movements(Described):
    """MRR at the start and the end of the period, and what moved it; losses are positive."""

    start: Number
    new: Number
    reactivation: Number
    expansion: Number
    contraction: Number
    churn: Number
    fx: Number
    rounding: Number
    end: Number


if TYPE_CHECKING:

    class Rates(Described):
        """The rates of a subscription business."""

else:
    Rates = create_model(
        "Rates",
        __base__=Described,
        __doc__="The rates of a subscription business.",
        **{
            name: (int if rate.unit is Unit.COUNT else OptionalNumber, Field(description=rate.description))
            for name, rate in RATES.items()
        },
    )


class RevenueAnswer(Period, Rates):
    """Revenue of a period."""

    mrr: Number
    arr: Number
    total_revenue: Number
    average_revenue_per_user: OptionalNumber
    revenue_growth: OptionalNumber
    currency: str
    invoiced: OptionalNumber
    refunds: Number
    paying_customers: int
    arpa: OptionalNumber
    mrr_movements: Movements
    unconverted: list[Unconverted]


class UserFigures(Described):
    """Users of a period."""

    total_users: int
    active_users: int
    new_users: int
    churned_users: int
    churn_rate: OptionalNumber
    active_user_rate: OptionalNumber


class UsersAnswer(UserFigures, Period):
    """Users of a period, and of its start."""

    users_at_start: int
    active_before: int
    churn_rate_of_start: OptionalNumber


class MovementsAnswer(Movements, Period):
    """What moved MRR in a period."""

    currency: str
    unconverted: list[Unconverted]


class Asset(Described):
    """Quantities of a crypto asset, in its ticker, and their value."""

    asset: str
    received: Number
    received_value: OptionalNumber
    sent: Number
    sent_value: OptionalNumber
    swapped: Number
    swapped_value: OptionalNumber
    transactions: int


class CryptoAnswer(Period):
    """Crypto assets of a period."""

    assets: list[Asset]
    currency: str


class EventCount(Described):
    """How often events of a type occurred."""

    event_type: str
    category: str
    events: int


class TopEventsAnswer(Period):
    """The most frequent event types of a period."""

    top_events: list[EventCount]


class RevenueEntry(Rates):
    """An hour, a day or a month of the time zone, and the instants between which it lies."""

    start: str
    starts_at: Instant
    ends_at: Instant
    total_revenue: Number
    invoiced: OptionalNumber
    refunds: Number
    mrr: Number
    paying_customers: int


class RevenueSeriesAnswer(Period):
    """Revenue of each hour, day or month."""

    series: list[RevenueEntry]
    interval: str
    currency: str
    unconverted: list[Unconverted]


class UsersEntry(UserFigures):
    """A day or a month of the time zone, and the instants between which it lies."""

    start: str
    starts_at: Instant
    ends_at: Instant


class UsersSeriesAnswer(Period):
    """Users of each day or month."""

    series: list[UsersEntry]
    interval: str


class Company(Described):
    """The headline figures of a company; users are null where raw events they need have expired."""

    company_id: str
    company_name: str = Field(description="What it is called; its id where it has no name.")
    time_zone: str = Field(description="Whose days and months its own figures are of (IANA).")
    reporting_currency: str = Field(description="What its own figures are in; those here are in the answer's currency.")
    locale: str = Field(description="Notation and language of its documents and alerts.")
    mrr: Number
    arr: Number
    total_revenue: Number
    average_revenue_per_user: OptionalNumber
    revenue_growth: OptionalNumber
    paying_customers: int
    total_users: int
    active_users: int | None
    new_users: int | None


class CompaniesAnswer(Period):
    """Companies side by side."""

    companies: list[Company]
    currency: str


class Stretch(Described):
    """A half-open stretch of partitions of an asset."""

    asset: str
    state: Annotated[str, WithJsonSchema({"type": "string", "enum": ["closed", "stale", "open"]})]
    start: Instant
    end: Instant


class PartitionsAnswer(Period):
    """What is closed, stale or open."""

    partitions: list[Stretch]


class SignedDocument(Described):
    """The document with which a month was signed off."""

    id: int
    sha256: str
    is_current: bool = Field(description="Whether no later revision counts.")


class Restated(Described):
    """A figure that differs from the signed one, both as they are shown."""

    figure: str
    label: str
    unit: Annotated[str, WithJsonSchema({"type": "string", "enum": ["money", "count", "percent", "ratio"]})]
    before: OptionalNumber
    after: OptionalNumber
    difference: OptionalNumber


class Cause(Described):
    """What has changed since a month was signed off."""

    cause: str
    number: int | None
    first: OptionalInstant
    last: OptionalInstant
    text: str


class Withdrawn(Described):
    """When a sign-off was withdrawn, by whom, and why."""

    at: Instant
    by: str
    because: str


class SignedMonth(Described):
    """A month that was signed off, of a company or (null) of all together, and what differs since."""

    month: str
    company_id: str | None
    signed_by: str
    signed_at: Instant
    definitions_version: int
    currency: str
    document: SignedDocument
    restatements: list[Restated]
    causes: list[Cause]
    withdrawn: Withdrawn | None


class SignOffsAnswer(Period):
    """Which months of the period are signed off, and whether the token may sign one."""

    signoffs: list[SignedMonth]
    may_sign: bool


class Signed(Described):
    """Whose month was signed off, or whose sign-off was withdrawn; null: all companies together."""

    month: str
    companies: list[str | None]


class StoredFile(Described):
    """A file of a document in the store."""

    name: str
    size: int
    sha256: str


class Headline(Described):
    """A headline figure as it is printed."""

    label: str
    value: str
    change: str


class Report(Described):
    """A document of a report."""

    id: int
    report: str
    company_id: str | None
    period: str
    revision: int
    is_current: bool
    rendered_at: Instant
    data_through: OptionalInstant
    provisional: bool
    definitions_version: int
    pages: int
    figures: list[Headline]
    files: dict[str, StoredFile]


class ReportList(Described):
    """Documents, the newest first."""

    reports: list[Report]


class ReportRequestAnswer(Described):
    """A request for a report."""

    id: int
    state: Annotated[str, WithJsonSchema({"type": "string", "enum": ["requested", "running", "done", "failed"]})]
    company_id: str | None
    start_date: date
    end_date: date
    sections: list[str]
    format: str
    currency: str | None
    locale: str | None
    page_size: str
    requested_at: Instant
    finished_at: OptionalInstant
    problem: str | None = Field(description="Why it failed, and what to do about it.")
    size: int | None
    sha256: str | None


class Address(Described):
    """An address that opens one document without a token."""

    url: str
    expires_at: Instant


class RecordOutcome(BaseModel):
    """What became of a record."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel)

    index: int
    outcome: Annotated[str, WithJsonSchema({"type": "string", "enum": ["stored", "known", "conflict", "rejected"]})]
    event_id: Annotated[str, WithJsonSchema({"type": "string", "format": "uuid"})] = ""
    kind: str = ""
    reason: str = ""


class EventsAnswer(Described):
    """What became of the records of a request."""

    received: int
    stored: int
    known: int
    conflict: int
    rejected: int
    records: list[RecordOutcome]


class Status(Described):
    """That it works."""

    status: str


class ProblemError(Described):
    """What is wrong with one parameter or field."""

    name: str
    detail: str


class Problem(Described):
    """Why a request got no answer (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[ProblemError] = []
    request_id: str = ""
