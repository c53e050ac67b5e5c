"""The mail that brings a report: its words, its recipients, its rows in the outbox.

Names come from data and figures from a document: every piece of text becomes one plain line; in HTML the templates
escape it.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from decimal import Decimal
from enum import StrEnum
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from analytics_pipeline.asset_names import MONTHLY_REPORT
from analytics_pipeline.companies.calendar import Calendar, calendar_of, platform_calendar
from analytics_pipeline.companies.time_zones import UTC
from analytics_pipeline.languages.wording import message, plural
from analytics_pipeline.locales import DEFAULT_LOCALE
from analytics_pipeline.messages.channels import CHANNELS
from analytics_pipeline.messages.mailed import ChangedFigure, Relation, changed_figures_of, count_changed
from analytics_pipeline.messages.message import Content, one_line, storable
from analytics_pipeline.messages.recipients import LINK, PDF, XLSX
from analytics_pipeline.messages.templates import render
from analytics_pipeline.reports.changes import describe_changes
from analytics_pipeline.reports.documents import (
    Document,
    DocumentFile,
    Figure,
    RecordedDocument,
    document_files,
    record_file,
)
from analytics_pipeline.reports.formats import Formats
from analytics_pipeline.settings import Settings
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.connection import Connection, fetch_row

# A report is mailed by itself for so long after its period has ended: filling in old months mails nobody.
MAILED_WITHIN = timedelta(days=45)

_TEMPLATES = Path(__file__).parent / "templates"
_TITLES = {MONTHLY_REPORT: message("Monthly report")}
_ALL_COMPANIES = message("All companies")
_LINE_CHARACTERS = 200
_COMPANY_CHARACTERS = 100
_CAUTION_CHARACTERS = 500
MAX_LISTED_IN_MAIL = 10
_KILO = 1000


@dataclass(frozen=True, slots=True)
class EarlierDocument:
    """A document of the period that was mailed before, and what the one that counts now is to it.

    ``changes`` are the figures that differ, under the same ``definitions_version`` only.
    """

    relation: Relation
    definitions_version: int
    changes: Sequence[ChangedFigure] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportMail:
    """What a mail says of a report.

    ``company`` is what the company is called, ``time_zone`` that of its days and months. ``period`` and
    ``data_through`` are in words. ``file`` is the document's name for people, ``size`` its bytes;
    ``link`` is where it is, None: it is attached; ``too_large`` is the reason for a link that nobody asked for.
    ``cautions`` is what page one says of its data. ``earlier`` is what the recipient was mailed before, None: nothing.
    ``answers_to`` is the address of somebody who can end the subscription, None: nobody is known. The mail is in the
    language and the notation of ``locale``, the document's.
    """

    company: str
    company_id: str | None = None
    time_zone: str = UTC
    title: str
    period: str
    figures: Sequence[Figure]
    file: str
    size: int
    sha256: str
    link: str | None
    data_through: str
    provisional: bool
    definitions_version: int
    cautions: Sequence[str] = ()
    earlier: EarlierDocument | None = None
    too_large: bool = False
    answers_to: str | None = None
    locale: str = DEFAULT_LOCALE


def compose(mail: ReportMail) -> Content:
    """Return the message; nothing in it can be markup, a second header or a line of its own but what stands here."""
    formats = Formats(mail.locale)
    say = formats.say
    company, title = one_line(say(mail.company), _COMPANY_CHARACTERS), say(mail.title)
    period = say(message("{period} (provisional)", period=mail.period)) if mail.provisional else mail.period
    subject = f"{title} {period}: {company}"
    if mail.earlier is not None:
        subject = say(
            message("Corrected: {report}", report=subject)
            if mail.earlier.relation is Relation.CORRECTED
            else message("Replaced: {report}", report=subject)
        )
    subject = one_line(subject)
    figures = [tuple(one_line(part, _LINE_CHARACTERS) for part in (f.label, f.value, f.change)) for f in mail.figures]
    file = one_line(mail.file)
    link = None if mail.link is None else one_line(mail.link, len(mail.link))
    size = _size(mail.size, formats)
    lead = say(message("Attached: {file} ({size})", file=file, size=size) if link is None else _lead(mail, size))
    where = lead if link is None else f"{lead}\n{link}"
    is_web = link is not None and link.startswith(("https://", "http://"))
    heading = one_line(f"{title}, {period}")
    said = {
        "_": lambda text: say(message(text)),
        "language": formats.language.code,
        "title": heading,
        "heading": heading,
        "company": company,
        "figures": figures,
        "widths": [max((len(row[column]) for row in figures), default=0) for column in range(3)],
        "has_changes": any(change for *_, change in figures),
        "file": file,
        "lead": lead,
        "link": link,
        "is_web": is_web,
        "where": where,
        "notes": _notes(mail, formats),
    }
    return Content(
        subject=subject,
        text=render("report.txt", said, _TEMPLATES),
        html=render("report.html", said, _TEMPLATES),
        summary=lead if link is None or is_web else where,
        facts=[(label, f"{value} ({change})" if change else value) for label, value, change in figures],
        link=link or "",
        opens=say(message("Open")),
        language=formats.language,
        payload=_payload(mail, subject, link),
    )


def report_mail(
    document: Document,
    settings: Settings,
    *,
    calendar: Calendar | None = None,
    earlier: EarlierDocument | None = None,
    file: DocumentFile | None = None,
    linked: bool = False,
) -> ReportMail:
    """Return what is said of a document whose ``file`` goes with the mail, None: the PDF.

    ``calendar`` is that of its company, None: the company has neither a name nor a time zone of its own.
    ``linked``, and above ANALYTICS_MAIL_ATTACHMENT_LIMIT, there is a link in its place.
    """
    formats = Formats(document.locale)
    through = document.data_through
    file = file or DocumentFile(document.uri, document.name, document.size, document.sha256)
    too_large = file.size > settings.mail_attachment_limit
    link = None
    if linked or too_large:
        base = settings.artifacts_url
        link = f"{base}/{quote(file.name)}" if base else file.uri
    return ReportMail(
        company=_ALL_COMPANIES if document.company_id is None else calendar.name if calendar else document.company_id,
        company_id=document.company_id,
        time_zone=calendar.time_zone if calendar else UTC,
        title=_TITLES[document.report],
        period=formats.month(date.fromisoformat(f"{document.period}-01")),
        figures=document.figures,
        file="-".join([document.report, document.period, PurePosixPath(file.name).name]),
        size=file.size,
        sha256=file.sha256,
        link=link,
        data_through=formats.say(message("no events yet")) if through is None else formats.instant(through),
        provisional=document.provisional,
        definitions_version=document.definitions_version,
        cautions=document.cautions,
        earlier=earlier,
        too_large=too_large and not linked,
        answers_to=settings.answers_to,
        locale=document.locale,
    )


def documents_due(connection: Connection, settings: Settings) -> list[tuple[str | None, date]]:
    """Return the companies (None: all together) and months whose report somebody is to get now, and that is not there.

    Where a company is, its month may end, and its morning come, long before the month is closed for all companies.
    """
    zone = platform_calendar(connection, settings).time_zone
    parameters = {"report": MONTHLY_REPORT, "zone": zone, "within": MAILED_WITHIN}
    return connection.execute(load_query("report_documents_due"), parameters).fetchall()


def wanted_documents(connection: Connection) -> list[RecordedDocument]:
    """Return the documents that somebody is still to be mailed, the oldest period first.

    Those that are held back are among them whether or not their recipients had an earlier one: free again, they can
    be sent as a correction.
    """
    rows = connection.execute(load_query("report_mail_wanted"), {"within": MAILED_WITHIN}).fetchall()
    return [RecordedDocument.of_row(row) for row in rows]


def count_missing(connection: Connection) -> int:
    """Return how many mails ``enqueue_wanted`` would put in."""
    return int(fetch_row(connection, load_query("report_mail_missing"), {"within": MAILED_WITHIN})[0])


def enqueue_wanted(connection: Connection, settings: Settings) -> int:
    """Put in the mails of every document that somebody waits for and that may go; return how many are new."""
    return sum(
        enqueue_report(connection, settings, document)
        for document in wanted_documents(connection)
        if document.held_because is None
    )


class Whom(StrEnum):
    """Who is mailed a document.

    ``DUE``: by itself, who has no mail of the period, and who was mailed other figures and asked for corrections.
    ``OUTDATED``: who was mailed other figures, or one by other definitions. ``ALL``: who was not mailed this revision.
    """

    DUE = "due"
    OUTDATED = "outdated"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class MailGroup:
    """Recipients of a channel who were sent the same of a period before and want the new document in the same form.

    ``addresses`` are of those who lack it.
    """

    earlier: EarlierDocument | None
    form: str
    channel: str
    recipients: Sequence[int]
    addresses: Sequence[str]

    @property
    def is_outdated(self) -> bool:
        """Whether what they were mailed has other figures, or follows other definitions."""
        return self.earlier is not None and self.earlier.relation.is_outdated


def enqueue_report(
    connection: Connection, settings: Settings, recorded: RecordedDocument, whom: Whom = Whom.DUE
) -> int:
    """Put one mail of a document into the outbox for each of these recipients and return how many are new.

    Repeating it changes nothing. Mails that have not left yet are made anew from this document. Each says what has
    changed since the one that its recipient was mailed before. A document that is held back, or no longer counts, is
    mailed to nobody.
    """
    files = prepare_files(connection, settings, recorded)
    calendar = calendar_of(connection, settings, recorded.document.company_id)
    zone = platform_calendar(connection, settings).time_zone
    with connection.transaction():
        # Two at once take turns: each sees the rows of the other.
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('analytics_report_mail', 0))")
        groups = [
            (group, _parameters(recorded, settings, calendar, group, files[_file_format(group.form)], whom, zone))
            for group in mail_groups(connection, recorded)
            # Who has only just asked for a workbook waits for the next round.
            if _file_format(group.form) in files
        ]
        for _, parameters in groups:
            connection.execute(load_query("report_mail_renew"), parameters)
        connection.execute(load_query("report_mail_superfluous"), {"document_id": recorded.document_id})
        return sum(
            connection.execute(load_query("report_mail_enqueue"), parameters).rowcount
            for group, parameters in groups
            if whom is not Whom.OUTDATED or group.is_outdated
        )


def mail_groups(connection: Connection, recorded: RecordedDocument) -> list[MailGroup]:
    """Return the recipients of a document by what they were mailed of its period last."""
    parameters = {"document_id": recorded.document_id}
    rows = connection.execute(load_query("report_mail_earlier"), parameters).fetchall()
    return [
        MailGroup(
            None if version is None else EarlierDocument(Relation(relation), version, changed_figures_of(changes)),
            form,
            channel,
            recipients,
            addresses,
        )
        for relation, version, changes, form, channel, recipients, addresses in rows
    ]


def prepare_files(connection: Connection, settings: Settings, recorded: RecordedDocument) -> dict[str, DocumentFile]:
    """Return the files of a document by their format; its workbook is made if somebody gets it and it is not there.

    Where the data give other figures than the document by now there is none, and the document is held back.
    """
    files, lacks_workbook = document_files(connection, recorded.document_id)
    if PDF not in files:
        # Recorded by an earlier release that was still running while the database was migrated.
        document = recorded.document
        files[PDF] = DocumentFile(document.uri, document.name, document.size, document.sha256)
        record_file(connection, recorded.document_id, PDF, files[PDF])
    if not lacks_workbook or recorded.held_because is not None:
        return files
    # Sections take a third of a second to import.
    from analytics_pipeline.reports.monthly import publish_workbook

    publish_workbook(connection, settings, recorded)
    return document_files(connection, recorded.document_id)[0]


def _file_format(form: str) -> str:
    """Return the format of the file that a mail of this form brings, or leads to."""
    return XLSX if form == XLSX else PDF


def _parameters(
    recorded: RecordedDocument,
    settings: Settings,
    calendar: Calendar,
    group: MailGroup,
    file: DocumentFile,
    whom: Whom,
    platform_zone: str,
) -> dict[str, object]:
    mail = report_mail(
        recorded.document,
        settings,
        calendar=calendar,
        earlier=group.earlier,
        file=file,
        linked=group.form == LINK,
    )
    attached = file if mail.link is None else None
    content = compose(mail)
    body = CHANNELS[group.channel].render(content)
    return {
        "document_id": recorded.document_id,
        "recipients": list(group.recipients),
        "subject": content.subject,
        "text": storable(body.text),
        "html": body.html,
        "format": group.form,
        "attachment_uri": attached and attached.uri,
        "attachment_name": attached and attached.name,
        "attachment_file": attached and mail.file,
        "attachment_sha256": attached and attached.sha256,
        "attachment_size": attached and attached.size,
        "by_hand": whom is not Whom.DUE,
        "is_another": group.earlier is not None,
        "within": MAILED_WITHIN,
        "zone": platform_zone,
    }


def _notes(mail: ReportMail, formats: Formats) -> list[str]:
    data = message(
        "Data through {instant}. Metric definitions, version {version}.",
        instant=one_line(mail.data_through),
        version=mail.definitions_version,
    )
    checksum = message("SHA-256 of the document: {sha256}", sha256=mail.sha256)
    notes = [
        *_since_earlier(mail, formats),
        formats.say(data),
        *_zone(mail, formats),
        *(one_line(caution, _CAUTION_CHARACTERS) for caution in mail.cautions),
        formats.say(checksum),
    ]
    if mail.answers_to:
        ending = message("To get this report no more, write to {address}.", address=mail.answers_to)
        notes.append(formats.say(ending))
    return notes


def _zone(mail: ReportMail, formats: Formats) -> list[str]:
    if mail.time_zone == UTC:
        return []
    return [formats.say(message("Days and months are those of the time zone {zone}.", zone=mail.time_zone))]


def _since_earlier(mail: ReportMail, formats: Formats) -> list[str]:
    """Return what differs from the document that was mailed before, in lines."""
    earlier = mail.earlier
    if earlier is None:
        return []
    if earlier.relation is Relation.OTHER_DEFINITIONS:
        other = message(
            "This replaces the report of this period that was sent before. That one follows version {before} of the "
            "definitions, this one version {now}: figures may differ by definition alone.",
            before=earlier.definitions_version,
            now=mail.definitions_version,
        )
        return [formats.say(other)]
    if earlier.relation is not Relation.CORRECTED:
        same = message("This replaces the report of this period that was sent before. No figure differs.")
        return [formats.say(same)]
    corrected = plural(
        "This replaces the report of this period that was sent before: {number} figure differs.",
        "This replaces the report of this period that was sent before: {number} figures differ.",
        count_changed(earlier.changes),
    )
    listed = describe_changes(earlier.changes, formats, MAX_LISTED_IN_MAIL)
    return [formats.say(corrected), *(one_line(line, _LINE_CHARACTERS) for line in listed)]


def _lead(mail: ReportMail, size: str) -> str:
    if mail.too_large:
        return message("The document is too large for a mail ({size}). It is here:", size=size)
    return message("The document ({size}) is here:", size=size)


def _payload(mail: ReportMail, subject: str, link: str | None) -> str:
    """Return the JSON that docs/notifications.md describes."""
    payload = {
        "type": "report.published",
        "text": subject,
        "data": {
            "company": mail.company,
            "companyId": mail.company_id,
            "timeZone": mail.time_zone,
            "title": mail.title,
            "period": mail.period,
            "provisional": mail.provisional,
            "definitionsVersion": mail.definitions_version,
            "dataThrough": mail.data_through,
            "figures": [asdict(figure) for figure in mail.figures],
            "cautions": list(mail.cautions),
            "file": mail.file,
            "size": mail.size,
            "sha256": mail.sha256,
            "link": link,
        },
    }
    return storable(json.dumps(payload))


def _size(size: int, formats: Formats) -> str:
    """Return a number of bytes in words."""
    if size < _KILO:
        return formats.say(plural("{number} byte", "{number} bytes", size))
    if size < _KILO * _KILO:
        return f"{formats.number(Decimal(size) / _KILO, 0)} kB"
    return f"{formats.number(Decimal(size) / (_KILO * _KILO), 1)} MB"
