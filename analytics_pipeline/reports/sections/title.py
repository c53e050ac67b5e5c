"""The title block: whose report, which period, and what its figures rest on."""

from reportlab.platypus import Flowable, Spacer

from analytics_pipeline.reports.content import Content
from analytics_pipeline.reports.layout import CAUTION_TINT
from analytics_pipeline.reports.sections.currencies import MISSING_FROM
from analytics_pipeline.reports.sections.reconciliation import disagreements
from analytics_pipeline.reports.tables import placed
from analytics_pipeline.reports.text import fitted_paragraph


def title_block(content: Content) -> list[Flowable]:
    """Return the company, the period, marks of what a reader must know, and a row of facts."""
    report, sheet = content.report, content.sheet
    styles, formats, window = sheet.styles, sheet.formats, report.window
    facts = [
        ("Period", f"{formats.day(window.start.date())} to {formats.day(window.last_day)}"),
        ("Time zone", "UTC"),
        ("Currency", report.currency),
        ("Data through", content.data_through),
        ("Definitions", f"Version {report.definitions_version}"),
    ]
    # A company may call itself "All companies"; the line above the title tells the two apart.
    scope = "platform" if report.company_id is None else "company"
    kind = f"Monthly {scope} report" if report.is_month else f"{scope.capitalize()} report"
    shares = [0.28, 0.12, 0.12, 0.29, 0.19]
    block = placed(
        sheet,
        [
            [sheet.say(name, styles.fact_name) for name, _ in facts],
            [sheet.say(value, styles.fact) for _, value in facts],
        ],
        [share * sheet.width for share in shares],
        padding=(0, 8, 0, 1),
    )
    return [
        sheet.say(kind, styles.kicker),
        fitted_paragraph(content.show(report.company), styles.title, sheet.width, lines=2),
        sheet.say(content.period, styles.subtitle),
        *(flowable for caution in _cautions(content) for flowable in (_mark(content, caution), Spacer(0, 8))),
        block,
    ]


def _cautions(content: Content) -> list[str]:
    report, formats = content.report, content.sheet.formats
    cautions = []
    if report.provisional:
        has_events = report.data_through is not None and report.data_through >= report.window.start
        as_of = f"They are as of {formats.instant(report.as_of)}" if has_events else "No event of it is in yet"
        cautions.append(f"Provisional: the period is not over and its figures will change. {as_of}.")
    if report.unconverted:
        currencies = ", ".join(sorted({row.currency for row in report.unconverted}))
        figures = ", ".join(dict.fromkeys(MISSING_FROM[row.figure] for row in report.unconverted))
        cautions.append(f"Incomplete: for want of a rate, amounts in {currencies} are missing from {figures}.")
    if differing := disagreements(report):
        cautions.append(f"Not reconciled: {', '.join(differing)}. See the section on reconciliation.")
    if report.quality and report.quality.checks.failed:
        cautions.append("Checks of the data failed. See the section on data quality.")
    return cautions


def _mark(content: Content, caution: str) -> Flowable:
    words = content.sheet.say(caution, content.sheet.styles.caution)
    return placed(content.sheet, [[words]], [content.sheet.width], padding=(8, 8, 3, 5), background=CAUTION_TINT)
