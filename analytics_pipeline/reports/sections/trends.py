"""Charts of the thirteen months, and which of those months a table shows."""

from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal

from reportlab.platypus import CondPageBreak, Flowable

from analytics_pipeline.languages.wording import message
from analytics_pipeline.reports.charts import Bar, BarChart
from analytics_pipeline.reports.content import Content
from analytics_pipeline.reports.months import MONTHS, MonthFigures
from analytics_pipeline.reports.pdf_tables import placed
from analytics_pipeline.reports.report import Report
from analytics_pipeline.reports.tabular import Column, Kind, Table, Value

CHART_HEIGHT = 122.0
_SPACE = 18.0
_BELOW = 10.0

# None: not known of that month.
Trend = tuple[str, Sequence[Decimal | int | None]]


def months_shown(report: Report) -> list[MonthFigures]:
    """Return the months from the first with a figure to the last."""
    months = list(report[MONTHS])
    first = next((index for index, month in enumerate(months) if _has_figures(month)), len(months) - 1)
    return months[first:]


def _has_figures(month: MonthFigures) -> bool:
    amounts = (month.total_revenue, month.invoiced, month.refunds, month.mrr)
    return any(amounts) or month.total_users > 0 or bool(month.active_users)


def _marked_month(report: Report, months: Sequence[MonthFigures]) -> int | None:
    """Return the index of the month the report is about, None when it is about another period."""
    return len(months) - 1 if report.is_month else None


def months_table(
    report: Report, key: str, title: str, columns: Sequence[Column], rows: Sequence[Sequence[Value]]
) -> Table:
    """Return a table of the months shown, each with its row; months of other definitions say by which they are."""
    months = months_shown(report)
    is_mixed = any(month.definitions_version != report.definitions_version for month in months)
    version = [Column("definitionsVersion", message("Definitions"))] if is_mixed else []
    return Table(
        key,
        title,
        (Column("month", message("Month"), Kind.MONTH), *columns, *version),
        [
            (month.month, *row, *([month.definitions_version] if is_mixed else []))
            for month, row in zip(months, rows, strict=True)
        ],
        marked=_marked_month(report, months),
    )


def notes_on_months(content: Content) -> list[Flowable]:
    """Return notes on months whose amounts are not wholly known, and on those of older definitions."""
    return [*incomplete_months(content, lambda month: bool(month.incomplete)), *older_months(content)]


def older_months(content: Content) -> list[Flowable]:
    """Return a note that names the months of an older version of the definitions, nothing without any."""
    report = content.report
    versions = {month.definitions_version for month in months_shown(report)} - {report.definitions_version}
    return [
        content.note(
            message(
                "By version {version} of the definitions, since their events have expired: {months}.",
                version=version,
                months=", ".join(
                    content.sheet.formats.month(month.month)
                    for month in months_shown(report)
                    if month.definitions_version == version
                ),
            )
        )
        for version in sorted(versions)
    ]


def incomplete_months(content: Content, is_incomplete: Callable[[MonthFigures], bool]) -> list[Flowable]:
    """Return a note that names the months whose amounts are not wholly known, nothing when all are."""
    names = [content.sheet.formats.month(m.month) for m in months_shown(content.report) if is_incomplete(m)]
    if not names:
        return []
    unknown = message("Not wholly known, for want of rates of exchange: {months}.", months=", ".join(names))
    return [content.note(unknown)]


def trend_charts(content: Content, trends: Sequence[Trend]) -> list[Flowable]:
    """Return charts of the thirteen months, two in a row, one alone over the full width."""
    full = content.sheet.width
    each = full if len(trends) == 1 else (full - _SPACE) / 2
    charts = [trend_chart(content, trend, (each, CHART_HEIGHT)) for trend in trends]
    rows: list[Flowable] = [CondPageBreak((CHART_HEIGHT + _BELOW) * ((len(charts) + 1) // 2))]
    for start in range(0, len(charts), 2):
        pair = charts[start : start + 2]
        columns = [each + _SPACE] * (len(pair) - 1) + [each]
        rows.append(placed(content.sheet, [pair], columns, padding=(0, 0, 0, _BELOW)))
    return rows


def trend_chart(
    content: Content, trend: Trend, size: tuple[float, float], *, least_height: float | None = None
) -> BarChart:
    """Return one chart of the thirteen months; with ``least_height`` it shrinks to what a page has left."""
    title, values = trend
    dates = [month.month for month in content.report[MONTHS]]
    return BarChart(
        content.sheet,
        content.show(title),
        _bars(content, dates, values),
        size,
        open_ended=content.report.last_month_open,
        least_height=least_height,
    )


def _bars(content: Content, months: Sequence[date], values: Sequence[Decimal | int | None]) -> list[Bar]:
    formats = content.sheet.formats
    return [
        Bar(
            # What is nothing has no bar, and what is not known neither: the table beside tells them apart.
            Decimal(value or 0),
            content.show(formats.short_month(month)),
            content.show(str(month.year)) if index == 0 or month.month == 1 else None,
        )
        for index, (month, value) in enumerate(zip(months, values, strict=True))
    ]
