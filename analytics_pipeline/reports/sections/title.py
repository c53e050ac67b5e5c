"""The title block: whose report, which month, and what its figures rest on."""

from reportlab.platypus import Flowable, Spacer

from analytics_pipeline.reports.content import Content
from analytics_pipeline.reports.layout import CAUTION_TINT
from analytics_pipeline.reports.tables import placed
from analytics_pipeline.reports.text import fitted_paragraph
from analytics_pipeline.windows import Window


def title_block(content: Content) -> list[Flowable]:
    """Return the company, the month, the mark of provisional figures and a row of facts."""
    report, sheet = content.report, content.sheet
    styles, formats = sheet.styles, sheet.formats
    window = Window.of_month(report.month)
    currencies = ", ".join(content.currency(series) for series in content.revenue)
    facts = [
        ("Period", f"{formats.day(window.start.date())} to {formats.day(window.last_day)}"),
        ("Time zone", "UTC"),
        ("Currencies" if len(content.revenue) > 1 else "Currency", currencies or "None recorded"),
        ("Data through", content.data_through),
        ("Definitions", f"Version {report.definitions_version}"),
    ]
    # A company may call itself "All companies"; the line above the title tells the two apart.
    scope = "platform" if report.company_id is None else "company"
    shares = [0.24, 0.11, 0.25, 0.25, 0.15]
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
        sheet.say(f"Monthly {scope} report", styles.kicker),
        fitted_paragraph(content.show(content.company), styles.title, sheet.width, lines=2),
        sheet.say(formats.month(report.month), styles.subtitle),
        *_provisional_mark(content),
        block,
    ]


def _provisional_mark(content: Content) -> list[Flowable]:
    if not content.report.provisional:
        return []
    sheet = content.sheet
    end, through = Window.of_month(content.report.month).end, content.report.data_through
    as_of = f"They are as of {sheet.formats.instant(min(end, through))}" if through else "No events are in"
    text = f"Provisional: the month is not final and its figures may change. {as_of}."
    words = sheet.say(text, sheet.styles.caution)
    mark = placed(sheet, [[words]], [sheet.width], padding=(8, 8, 3, 5), background=CAUTION_TINT)
    return [mark, Spacer(0, 12)]
