"""What the figures mean, in one line each."""

from reportlab.platypus import Flowable, KeepTogether

from analytics_pipeline.reports.content import Content


def definitions(content: Content) -> list[Flowable]:
    """Return the definitions a reader needs."""
    sheet = content.sheet
    lines = [
        "Net revenue: payments received minus refunds, each on its own date (cash basis). "
        "Amounts of different currencies are never added.",
        "Transactions: payments and refunds. Active users: distinct users with at least one revenue, user or "
        "crypto event in the month. New users: users first seen in the month, by any event.",
        "Months are calendar months in UTC. Amounts are exact until printed, then rounded half-even to the "
        "currency's digits (ISO 4217; crypto assets eight).",
    ]
    if content.report.provisional:
        lines.append("A dashed bar shows a month that is not final.")
    body = [sheet.say(line, sheet.styles.note) for line in lines]
    return [KeepTogether([sheet.say("How to read the figures", sheet.styles.section), *body])]
