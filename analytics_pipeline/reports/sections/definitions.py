"""What the figures mean, in one line each."""

from reportlab.platypus import Flowable, Spacer

from analytics_pipeline.reports.content import Content
from analytics_pipeline.reports.pdf_tables import Glossary
from analytics_pipeline.reports.report import Report
from analytics_pipeline.reports.sections.section import Section
from analytics_pipeline.reports.tabular import Table, text

_NOTE = 20.0
_TERMS = (
    ("Total revenue", "Payments received minus refunds, each on its own date (cash basis)."),
    ("Invoiced", "Invoices minus credit notes, ex tax. Never added to payments."),
    ("Refunds", "What was paid back in the period, whenever it had been paid."),
    ("Average revenue per user", "Total revenue per total user."),
    (
        "MRR",
        "Monthly recurring revenue at the period's end: price ex tax of active and past-due subscriptions, per month.",
    ),
    ("ARR", "12 x MRR, before rounding."),
    ("Paying customers, ARPA", "Customers with an MRR above zero, and MRR per paying customer."),
    ("New, reactivation", "MRR of customers that pay for the first time, or again after an end."),
    (
        "Expansion, contraction",
        "More or less from customers that go on; a pause is contraction, a resumption expansion.",
    ),
    ("Churn of MRR", "MRR of customers that have ended."),
    ("Rates of exchange", "What changing rates did to balances; movements are converted at the rate of their own day."),
    ("Total users", "Users first seen before the period's end and not deleted before its start."),
    ("Active users", "Users with at least one event of their own (revenue, user activity, crypto) in the period."),
    ("New users", "Users first seen in the period, by any event."),
    ("Churned users", "Active in the period before and not in this one, or deleted in this one."),
    ("Churn rate, active user rate", "Churned, and active, users per total users."),
    ("Crypto volumes", "Quantities in the asset; their value at the rates of the days is in no revenue figure."),
    ("Period before", "The same calendar unit before when the period is whole months, else as many days just before."),
    ("Conversion", "The last rate on or before the day, at most 7 days old; without one an amount is in no figure."),
    (
        "Rounding",
        "Figures are exact until shown, then rounded once, half-even; a line of that name is what parts miss a sum by.",
    ),
)


def tables(_report: Report) -> list[Table]:
    """Return the terms and their meanings."""
    return [Table("definitions", "Definitions", (text("term", "Term"), text("meaning", "Meaning")), _TERMS)]


def pages(content: Content) -> list[Flowable]:
    """Return the terms with their meanings."""
    glossary = Glossary(content.sheet, [(content.show(term), content.show(meaning)) for term, meaning in _TERMS])
    version = f"Version {content.report.definitions_version} of the definitions."
    need = glossary.wrap(0, 0)[1] + _NOTE
    return [*content.heading("Definitions", need), content.note(version), Spacer(0, 5), glossary]


SECTION = Section("definitions", tables, pages, has_figures=False)
