"""The headline figures of the period, each with its previous value and change."""

from decimal import Decimal

from reportlab.platypus import Flowable, Spacer

from analytics_pipeline.currencies import round_rate
from analytics_pipeline.languages.notation import UNDEFINED
from analytics_pipeline.languages.wording import message
from analytics_pipeline.reports.cards import Card, Cards
from analytics_pipeline.reports.content import Content
from analytics_pipeline.reports.report import Report
from analytics_pipeline.reports.sections import figures
from analytics_pipeline.reports.sections.section import Figure, Section, figures_table
from analytics_pipeline.reports.tabular import Kind, Table

_FIGURES = (
    figures.total_revenue,
    figures.mrr,
    figures.invoiced,
    figures.refunds,
    figures.paying_customers,
    figures.active_users,
    figures.new_users,
    figures.churned_users,
)
_UNWELCOME = {"refunds", "churnedUsers"}
_CARDS_A_ROW = 4


def headline_figures(report: Report) -> list[Figure]:
    """Return the figures a reader looks for first."""
    return [figure(report) for figure in _FIGURES]


def tables(report: Report) -> list[Table]:
    """Return the headline figures as a table."""
    return [figures_table("headline", message("Headline figures"), headline_figures(report))]


def pages(content: Content) -> list[Flowable]:
    """Return the headline figures as rows of cards."""
    cards = [_card(content, figure) for figure in headline_figures(content.report)]
    rows = [cards[start : start + _CARDS_A_ROW] for start in range(0, len(cards), _CARDS_A_ROW)]
    against = (
        message("Change is against the month before.")
        if content.report.is_month
        else message("Change is against {period}.", period=_previous(content))
    )
    undefined = message(
        "A dash ({dash}) means that there is no figure: that period is zero or negative, or not wholly known.",
        dash=UNDEFINED,
    )
    note = " ".join(map(content.sheet.formats.say, (against, undefined)))
    flowables: list[Flowable] = content.heading(message("Headline figures"), 150)
    for row in rows:
        flowables += [Cards(content.sheet, row), Spacer(0, 12)]
    return [*flowables[:-1], content.note(note)]


def _previous(content: Content) -> str:
    formats, previous = content.sheet.formats, content.report.previous
    return message("{first} to {last}", first=formats.day(previous.first_day), last=formats.day(previous.last_day))


def _card(content: Content, figure: Figure) -> Card:
    previous = content.cell(figure.previous)
    against = (
        message("Previous month {value}", value=previous)
        if content.report.is_month
        else message("Period before {value}", value=previous)
    )
    return Card(
        name=content.show(figure.title),
        value=content.cell(figure.value),
        change=content.cell(figure.change, Kind.CHANGE),
        against=content.show(against),
        direction=_direction(figure.change),
        is_good=figure.key not in _UNWELCOME,
    )


def _direction(rate: Decimal | None) -> int:
    shown = round_rate(rate) if rate is not None else 0
    return (shown > 0) - (shown < 0)


SECTION = Section("headline", tables, pages)
