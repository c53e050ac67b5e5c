"""Mailing reports again on purpose: whom, what for, and putting them into the outbox."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.messages.mailed import ChangedFigure, describe_relation, outdated_mails
from analytics_pipeline.reports.documents import RecordedDocument, current_document
from analytics_pipeline.reports.mail import MailGroup, Whom, enqueue_report, mail_groups, prepare_files
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale import audit
from analytics_pipeline.timescale.connection import Connection


@dataclass(frozen=True, slots=True)
class ResentMail:
    """A mail that is due to an address, why, and the figures that differ from what it was mailed before."""

    report: str
    company_id: str | None
    period: str
    address: str
    why: str
    changes: Sequence[ChangedFigure]


@dataclass(slots=True)
class Resent:
    """Who gets what, how many mails were put in (0: a preview), and which documents are held back, with the reason."""

    mails: list[ResentMail] = field(default_factory=list)
    added: int = 0
    held: list[str] = field(default_factory=list)


def resend_one(
    connection: Connection,
    settings: Settings,
    report: str,
    company_id: str | None,
    period: str,
    *,
    preview: bool = False,
) -> Resent:
    """Mail the document that counts to all who have not been sent this revision; with ``preview`` only say to whom.

    Raises ``AnalyticsError`` when there is none, or when it is held back.
    """
    recorded = current_document(connection, report, company_id, period)
    if recorded.held_because is not None:
        raise AnalyticsError(
            f"The {_held(recorded)}. It can be sent when that is over; the sensor report_mail looks every minute."
        )
    done = Resent()
    _resend(connection, settings, recorded, Whom.ALL, done, preview=preview)
    return done


def resend_outdated(
    connection: Connection,
    settings: Settings,
    *,
    report: str | None = None,
    period: str | None = None,
    company_id: str | None = None,
    of_one: bool = False,
    preview: bool = False,
) -> Resent:
    """Mail the documents that count to those who were mailed other figures, or ones by other definitions.

    ``of_one``: only those of ``company_id`` (None: over all companies). What is held back is named and not mailed.
    """
    mailed = outdated_mails(connection, report=report, period=period, company_id=company_id, of_one=of_one)
    outdated = dict.fromkeys((one.report, one.company_id, one.period) for one in mailed if one.relation.is_outdated)
    done = Resent()
    for name, company, of in outdated:
        recorded = current_document(connection, name, company, of)
        if recorded.held_because is not None:
            done.held.append(_held(recorded))
        else:
            _resend(connection, settings, recorded, Whom.OUTDATED, done, preview=preview)
    return done


def _resend(
    connection: Connection,
    settings: Settings,
    recorded: RecordedDocument,
    whom: Whom,
    done: Resent,
    *,
    preview: bool,
) -> None:
    groups = [group for group in mail_groups(connection, recorded) if whom is Whom.ALL or group.is_outdated]
    if not preview:
        prepare_files(connection, settings, recorded)
        document = recorded.document
        recorded = current_document(connection, document.report, document.company_id, document.period)
        if recorded.held_because is not None:
            done.held.append(_held(recorded))
            return
        with connection.transaction():
            added = enqueue_report(connection, settings, recorded, whom)
            if added:
                details = {"company": document.company_id, "period": document.period, "mails": added}
                audit.record(connection, "report.resend", document.report, details)
        done.added += added
    done.mails += (mail for group in groups for mail in _mails(recorded, group))


def _mails(recorded: RecordedDocument, group: MailGroup) -> Iterator[ResentMail]:
    document, earlier = recorded.document, group.earlier
    changes = () if earlier is None else earlier.changes
    why = "not mailed before"
    if earlier is not None:
        versions = (earlier.definitions_version, document.definitions_version)
        why = describe_relation(earlier.relation, *versions, changes)
    for address in group.addresses:
        yield ResentMail(document.report, document.company_id, document.period, address, why, changes)


def _held(recorded: RecordedDocument) -> str:
    document = recorded.document
    return f"{document.report} of {document.period} is held back: {recorded.held_because}"
