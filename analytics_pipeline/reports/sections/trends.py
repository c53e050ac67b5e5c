"""Charts of thirteen months: revenue in each currency, and users."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal

from reportlab.platypus import Flowable, KeepTogether, Spacer

from analytics_pipeline.reports.charts import Bar, BarChart
from analytics_pipeline.reports.content import Content
from analytics_pipeline.reports.figures import trailing_months
from analytics_pipeline.reports.tables import placed

_CHART_HEIGHT = 122.0
_GAP = 18.0


def revenue_trend(content: Content) -> list[Flowable]:
    """Return a chart of net revenue for each currency."""
    charts = [
        (
            f"Net revenue, {content.currency(series)}",
            [(month.month, month.revenue) for month in series.months],
        )
        for series in content.revenue
    ]
    return _chart_section(content, "Revenue trend", charts)


def user_trend(content: Content) -> list[Flowable]:
    """Return the charts of active and of new users."""
    charts = [
        ("Active users", [(month.month, Decimal(month.active_users)) for month in content.users]),
        ("New users", [(month.month, Decimal(month.new_users)) for month in content.users]),
    ]
    return _chart_section(content, "Users", charts)


def _chart_section(
    content: Content, title: str, charts: Sequence[tuple[str, Sequence[tuple[date, Decimal]]]]
) -> list[Flowable]:
    """Set one chart over the full width, several in two columns; nothing without a chart."""
    if not charts:
        return []
    sheet = content.sheet
    full = sheet.width
    half = (full - _GAP) / 2
    each = full if len(charts) == 1 else half
    drawn = [
        BarChart(
            sheet,
            content.show(name),
            _bars(content, values),
            (each, _CHART_HEIGHT),
            open_ended=content.report.provisional,
        )
        for name, values in charts
    ]
    rows: list[Flowable] = []
    for start in range(0, len(drawn), 2):
        pair: list[Flowable] = list(drawn[start : start + 2])
        if each == half and len(pair) == 1:
            pair.append(Spacer(half, 0))
        columns = [each + _GAP] * (len(pair) - 1) + [each]
        rows.append(placed(sheet, [pair], columns, padding=(0, 0, 0, 10)))
    # The heading keeps with the first row of charts; the others may go to the next page.
    return [KeepTogether([sheet.say(title, sheet.styles.section), rows[0]]), *rows[1:]]


def _bars(content: Content, values: Sequence[tuple[date, Decimal]]) -> list[Bar]:
    """Return a bar for each of the thirteen months, so that all charts share one axis of time."""
    formats = content.sheet.formats
    known = dict(values)
    return [
        Bar(
            known.get(month, Decimal(0)),
            content.show(formats.short_month(month)),
            content.show(str(month.year)) if index == 0 or month.month == 1 else None,
        )
        for index, month in enumerate(trailing_months(content.report.month))
    ]
