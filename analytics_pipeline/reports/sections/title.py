"""The title block: whose report, which period, and what its figures rest on."""

from reportlab.platypus import Flowable, Spacer

from analytics_pipeline.languages.wording import message, plural
from analytics_pipeline.messages.mailed import count_changed
from analytics_pipeline.reports.cautions import cautions
from analytics_pipeline.reports.changes import describe_changes
from analytics_pipeline.reports.content import Content
from analytics_pipeline.reports.layout import CAUTION_TINT
from analytics_pipeline.reports.pdf_tables import placed
from analytics_pipeline.reports.printed_text import fitted_paragraph
from analytics_pipeline.reports.restatements import describe_signoffs


def title_block(content: Content) -> list[Flowable]:
    """Return the company, the period, marks of what a reader must know, and a row of facts."""
    report, sheet = content.report, content.sheet
    styles, formats, window = sheet.styles, sheet.formats, report.window
    facts = [
        (
            message("Period"),
            message("{first} to {last}", first=formats.day(window.first_day), last=formats.day(window.last_day)),
        ),
        (message("Time zone"), report.time_zone),
        (message("Currency"), report.currency),
        (message("Data through"), content.data_through),
        (message("Definitions"), message("Version {version}", version=report.definitions_version)),
    ]
    # A company may call itself "All companies"; the line above the title tells the two apart.
    if report.company_id is None:
        kind = message("Monthly platform report") if report.is_month else message("Platform report")
    else:
        kind = message("Monthly company report") if report.is_month else message("Company report")
    shares = [0.27, 0.19, 0.1, 0.27, 0.17]
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
        *(flowable for words in _marks(content) for flowable in (_mark(content, words), Spacer(0, 8))),
        block,
    ]


def _marks(content: Content) -> list[str]:
    report, formats = content.report, content.sheet.formats
    marks = [caution.text for caution in cautions(report, formats)]
    if report.corrections:
        corrected = plural(
            "Corrected: {number} figure differs from the document of this period that was made before. {figures}.",
            "Corrected: {number} figures differ from the document of this period that was made before. {figures}.",
            count_changed(report.corrections),
            figures="; ".join(describe_changes(report.corrections, formats)),
        )
        marks.insert(0, formats.say(corrected))
    marks[:0] = describe_signoffs(report, formats)
    return marks


def _mark(content: Content, words: str) -> Flowable:
    said = content.sheet.say(words, content.sheet.styles.caution)
    return placed(content.sheet, [[said]], [content.sheet.width], padding=(8, 8, 3, 5), background=CAUTION_TINT)
