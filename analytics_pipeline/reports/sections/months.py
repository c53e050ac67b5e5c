"""Tables of figures by month: revenue in each currency, and users."""

from collections.abc import Sequence
from decimal import Decimal

from reportlab.platypus import Flowable, KeepTogether, Table

from analytics_pipeline.metrics.revenue import RevenueMonth
from analytics_pipeline.metrics.users import UserMonth
from analytics_pipeline.reports.content import Content
from analytics_pipeline.reports.figures import RevenueSeries, gross
from analytics_pipeline.reports.formats import UNDEFINED
from analytics_pipeline.reports.tables import figures_table
from analytics_pipeline.reports.text import Printable


def revenue_by_month(content: Content) -> list[Flowable]:
    """Return a table for each currency, a row for each month."""
    sheet = content.sheet
    title = sheet.say("Revenue by month and currency", sheet.styles.section)
    if not content.revenue:
        nothing = content.no_amount()
        month = content.show(sheet.formats.month(content.report.month))
        row = [month, nothing, nothing, nothing, content.show(UNDEFINED), content.count(0)]
        return [KeepTogether([title, _revenue_table(content, [row], emphasised=0)])]
    blocks: list[Flowable] = []
    for index, series in enumerate(content.revenue):
        heading: list[Flowable] = [title] if index == 0 else []
        name = sheet.formats.currency_name(content.currency(series))
        heading.append(sheet.say(name, sheet.styles.subsection))
        blocks.append(KeepTogether([*heading, _series_table(content, series)]))
    return blocks


def _series_table(content: Content, series: RevenueSeries) -> Table:
    previous = [Decimal(0), *(month.revenue for month in series.months)]
    rows = [
        _revenue_row(content, series, month, content.change(month.revenue, before))
        for month, before in zip(series.months, previous, strict=False)
    ]
    if len(rows) > 1:
        total = _revenue_row(content, series, series.total, content.show(""))
        rows.append([content.show(f"Total of {len(rows)} months"), *total[1:]])
    return _revenue_table(content, rows, emphasised=len(series.months) - 1, total=len(rows) > 1)


def _revenue_row(content: Content, series: RevenueSeries, month: RevenueMonth, changed: Printable) -> list[Printable]:
    return [
        content.show(content.sheet.formats.month(month.month)),
        content.amount(gross(month), series),
        content.amount(month.refunds, series),
        content.amount(month.revenue, series),
        changed,
        content.count(month.transactions),
    ]


def _revenue_table(
    content: Content,
    rows: Sequence[Sequence[Printable]],
    *,
    emphasised: int,
    total: bool = False,
) -> Table:
    names = ("Month", "Payments", "Refunds", "Net revenue", "Change", "Transactions")
    return figures_table(
        content.sheet,
        [content.show(name) for name in names],
        rows,
        [0.22, 0.18, 0.16, 0.18, 0.12, 0.14],
        emphasised=emphasised,
        total=total,
    )


def users_by_month(content: Content) -> list[Flowable]:
    """Return the table of active and new users."""
    sheet = content.sheet
    previous = [UserMonth(content.report.month, 0, 0), *content.users]
    rows = [
        [
            content.show(sheet.formats.month(month.month)),
            content.count(month.active_users),
            content.change(month.active_users, before.active_users),
            content.count(month.new_users),
            content.change(month.new_users, before.new_users),
        ]
        for month, before in zip(content.users, previous, strict=False)
    ]
    head = [content.show(name) for name in ("Month", "Active users", "Change", "New users", "Change")]
    table = figures_table(sheet, head, rows, [0.24, 0.2, 0.18, 0.2, 0.18], emphasised=len(rows) - 1)
    return [KeepTogether([sheet.say("Users by month", sheet.styles.section), table])]
