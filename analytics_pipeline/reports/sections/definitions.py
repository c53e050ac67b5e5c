"""What the figures mean, in one line each."""

from reportlab.platypus import Flowable, Spacer

from analytics_pipeline.languages.wording import message
from analytics_pipeline.reports.content import Content
from analytics_pipeline.reports.pdf_tables import Glossary
from analytics_pipeline.reports.report import Report
from analytics_pipeline.reports.sections.section import Section
from analytics_pipeline.reports.tabular import Table, text

_NOTE = 20.0
_TERMS = (
    (message("Total revenue"), message("Payments received minus refunds, each on its own date (cash basis).")),
    (message("Invoiced"), message("Invoices minus credit notes, ex tax. Never added to payments.")),
    (message("Refunds"), message("What was paid back in the period, whenever it had been paid.")),
    (message("Average revenue per user"), message("Total revenue per total user.")),
    (
        message("MRR"),
        message(
            "Monthly recurring revenue at the period's end: price ex tax of active and past-due subscriptions, per "
            "month."
        ),
    ),
    (message("ARR"), message("12 x MRR, before rounding.")),
    (message("Paying customers, ARPA"), message("Customers with an MRR above zero, and MRR per paying customer.")),
    (message("New, reactivation"), message("MRR of customers that pay for the first time, or again after an end.")),
    (
        message("Expansion, contraction"),
        message("More or less from customers that go on; a pause is contraction, a resumption expansion."),
    ),
    (message("Churn of MRR"), message("MRR of customers that have ended.")),
    (
        message("Rates of exchange"),
        message("What changing rates did to balances; movements are converted at the rate of their own day."),
    ),
    (message("Total users"), message("Users first seen before the period's end and not deleted before its start.")),
    (
        message("Active users"),
        message("Users with at least one event of their own (revenue, user activity, crypto) in the period."),
    ),
    (message("New users"), message("Users first seen in the period, by any event.")),
    (message("Churned users"), message("Active in the period before and not in this one, or deleted in this one.")),
    (message("Churn rate, active user rate"), message("Churned, and active, users per total users.")),
    (
        message("Crypto volumes"),
        message("Quantities in the asset; their value at the rates of the days is in no revenue figure."),
    ),
    (
        message("Period before"),
        message("The same calendar unit before when the period is whole months, else as many days just before."),
    ),
    (
        message("Conversion"),
        message("The last rate on or before the day, at most 7 days old; without one an amount is in no figure."),
    ),
    (
        message("Rounding"),
        message(
            "Figures are exact until shown, then rounded once, half-even; a line of that name is what parts miss a "
            "sum by."
        ),
    ),
)


def tables(_report: Report) -> list[Table]:
    """Return the terms and their meanings."""
    return [
        Table(
            "definitions",
            message("Definitions"),
            (text("term", message("Term")), text("meaning", message("Meaning"))),
            _TERMS,
        )
    ]


def pages(content: Content) -> list[Flowable]:
    """Return the terms with their meanings."""
    glossary = Glossary(content.sheet, [(content.show(term), content.show(meaning)) for term, meaning in _TERMS])
    version = message("Version {version} of the definitions.", version=content.report.definitions_version)
    need = glossary.wrap(0, 0)[1] + _NOTE
    return [*content.heading(message("Definitions"), need), content.note(version), Spacer(0, 5), glossary]


SECTION = Section("definitions", tables, pages, has_figures=False)
