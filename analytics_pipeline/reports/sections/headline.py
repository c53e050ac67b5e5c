"""The headline figures of the month, each with its previous value and change."""

from decimal import Decimal

from reportlab.platypus import Flowable, Spacer

from analytics_pipeline.currencies import rounded
from analytics_pipeline.metrics.users import UserMonth
from analytics_pipeline.reports.cards import Card, Cards
from analytics_pipeline.reports.content import Content
from analytics_pipeline.reports.figures import change
from analytics_pipeline.reports.formats import CHANGE_DIGITS, UNDEFINED
from analytics_pipeline.reports.tables import figures_table


def headline(content: Content) -> list[Flowable]:
    """Return the row of headline figures, and a table of revenue where there are several currencies."""
    sheet = content.sheet
    users = content.users[-1]
    users_before = content.users[-2] if len(content.users) > 1 else UserMonth(content.report.month, 0, 0)
    transactions = sum(series.this.transactions for series in content.revenue)
    transactions_before = sum(series.months[-2].transactions for series in content.revenue if len(series.months) > 1)
    cards = [
        _revenue_card(content),
        _count_card(content, "Transactions", transactions, transactions_before),
        _count_card(content, "Active users", users.active_users, users_before.active_users),
        _count_card(content, "New users", users.new_users, users_before.new_users),
    ]
    note = (
        f"Change is against the month before. A dash ({UNDEFINED}) means that no rate can be given: "
        "that month is zero, negative or not in this report."
    )
    flowables: list[Flowable] = [
        sheet.say("Headline figures", sheet.styles.section),
        Cards(sheet, cards),
    ]
    if len(content.revenue) > 1:
        flowables += [Spacer(0, 14), _currency_table(content)]
    return [*flowables, sheet.say(note, sheet.styles.note)]


def _revenue_card(content: Content) -> Card:
    if not content.revenue:
        nothing = content.no_amount()
        return Card(
            content.show("Revenue"),
            nothing,
            content.show(UNDEFINED),
            content.show(f"Previous month {nothing}"),
            0,
        )
    series = content.revenue[0]
    return Card(
        name=content.show(f"Revenue, {content.currency(series)}"),
        value=content.amount(series.this.revenue, series),
        change=content.change(series.this.revenue, series.previous),
        against=content.show(f"Previous month {content.amount(series.previous, series)}"),
        direction=_direction(change(series.this.revenue, series.previous)),
    )


def _count_card(content: Content, name: str, this: int, previous: int) -> Card:
    return Card(
        name=content.show(name),
        value=content.count(this),
        change=content.change(this, previous),
        against=content.show(f"Previous month {content.count(previous)}"),
        direction=_direction(change(this, previous)),
    )


def _currency_table(content: Content) -> Flowable:
    head = [content.show(name) for name in ("Revenue by currency", "This month", "Previous month", "Change")]
    rows = [
        [
            content.show(content.currency(series)),
            content.amount(series.this.revenue, series),
            content.amount(series.previous, series),
            content.change(series.this.revenue, series.previous),
        ]
        for series in content.revenue
    ]
    return figures_table(content.sheet, head, rows, [0.3, 0.27, 0.27, 0.16])


def _direction(rate: Decimal | None) -> int:
    shown = rounded(rate, CHANGE_DIGITS) if rate is not None else 0
    return (shown > 0) - (shown < 0)
