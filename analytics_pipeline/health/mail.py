"""Whether what was to be sent has been sent, and still holds."""

from datetime import datetime, timedelta

from analytics_pipeline.asset_names import COMPANY_REPORTS, MONTHLY_REPORT
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.health.check_result import CheckResult, Severity, Violation
from analytics_pipeline.messages.addresses import operator_targets
from analytics_pipeline.messages.delivery import channels_for
from analytics_pipeline.messages.mailed import OutdatedMail, Relation, describe_relation, outdated_mails
from analytics_pipeline.messages.message import one_line
from analytics_pipeline.messages.recipients import describe_audience
from analytics_pipeline.messages.sending import count_waiting
from analytics_pipeline.settings import Settings
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.clock import database_now
from analytics_pipeline.timescale.connection import Connection, fetch_row

# Long enough for somebody to look; what was not fixed by then has been talked about otherwise.
LOOK_BACK = timedelta(days=14)
# A message may wait for a mail server that is restarted.
MAX_WAIT = timedelta(hours=1)
CHECK = "mail_delivered"
# A document that was made anew so long ago was resent by now, or is not to be.
CORRECTIONS_LOOK_BACK = timedelta(days=45)
CURRENT_CHECK = "mailed_documents_current"
_MAX_SHOWN = 3
_REASON_CHARACTERS = 200
_MAX_LISTED = 100


def mail_delivered(connection: Connection, settings: Settings) -> CheckResult:
    """Judge the messages of the outbox: reports, alerts and failures."""
    failed, unknown, waiting, oldest, sent = fetch_row(
        connection, load_query("outbox_health"), {"look_back": LOOK_BACK, "max_wait": MAX_WAIT}
    )
    problems = []
    if failed:
        ids, named = _undelivered(connection, "failed", failed)
        problems.append(
            Violation(
                f"{failed} messages of the last {LOOK_BACK.days} days were not delivered, and are not tried again: "
                f"{named}",
                "analytics-pipeline outbox list --state failed",
                fallback=f"analytics-pipeline outbox retry {ids}",
            )
        )
    if unknown:
        ids, named = _undelivered(connection, "unknown", unknown)
        problems.append(
            Violation(
                f"of {unknown} messages nobody knows whether they were delivered: ask the recipients, discard those "
                f"that arrived and retry the others: {named}",
                "analytics-pipeline outbox list --state unknown",
                fallback=f"analytics-pipeline outbox discard {ids}",
            )
        )
    if waiting:
        problems.append(
            Violation(
                f"{waiting} messages have been waiting for more than an hour: {_why_waiting(connection, settings)}",
                "analytics-pipeline outbox list --state pending",
                Severity.WARNING,
            )
        )
    try:
        operator_targets(settings)
    except AnalyticsError as error:
        problems.append(
            Violation(f"nobody is notified of failures: {str(error).rstrip('.')}", "correct ANALYTICS_OPERATORS")
        )
    return CheckResult.judge(
        CHECK,
        MONTHLY_REPORT,
        problems,
        good=f"Nothing waits, and everything of the last {LOOK_BACK.days} days was delivered: {sent} messages.",
        metadata={
            "failed": failed,
            "possibly delivered": unknown,
            "waiting for more than an hour": waiting,
            "oldest waiting since": oldest,
            "sent": sent,
        },
        limits={
            "failed or unknown allowed": 0,
            "days looked at": LOOK_BACK.days,
        },
    )


def mailed_documents_current(connection: Connection, settings: Settings, subject: str) -> CheckResult:  # noqa: ARG001
    """Judge whether the documents that were mailed last are those that count, or show the same figures.

    ``subject`` is the asset whose documents are judged: ``monthly_report`` or ``company_reports``.
    """
    since = database_now(connection) - CORRECTIONS_LOOK_BACK
    of_companies = subject == COMPANY_REPORTS
    differing = [
        mail
        for mail in outdated_mails(connection)
        if (mail.company_id is not None) == of_companies and mail.relation is not Relation.SAME_FIGURES
    ]
    lately = [mail for mail in differing if _is_later(mail.current_since, since)]
    problems = []
    if lately:
        named = "; ".join(_outdated(mail) for mail in lately[:_MAX_SHOWN])
        more = f"; and {len(lately) - _MAX_SHOWN} more" if len(lately) > _MAX_SHOWN else ""
        problems.append(
            Violation(
                f"{len(lately)} documents that were mailed no longer equal the current ones: {named}{more}",
                "analytics-pipeline outbox resend --outdated --preview",
                Severity.WARNING,
                "analytics-pipeline outbox resend --outdated",
            )
        )
    return CheckResult.judge(
        CURRENT_CHECK,
        subject,
        problems,
        good="Every document that was mailed shows the figures of the current one.",
        metadata={
            "documents": [
                {
                    "period": mail.period,
                    "company": mail.company_id or "",
                    "document": _relation(mail),
                    "recipients": len(mail.addresses),
                    "held back": mail.held_because or "",
                }
                for mail in lately[:_MAX_LISTED]
            ],
            "documents that differ": len(lately),
            f"made anew more than {CORRECTIONS_LOOK_BACK.days} days ago": len(differing) - len(lately),
        },
        limits={"documents that differ allowed": 0},
    )


def _undelivered(connection: Connection, state: str, number: int) -> tuple[str, str]:
    """Return the ids of the newest messages of a state, and to whom each was to go, with its reason.

    Both are for people, who also hear how many more there are.
    """
    rows = connection.execute(
        load_query("outbox_undelivered"), {"state": state, "look_back": LOOK_BACK, "most": _MAX_SHOWN}
    ).fetchall()
    named = [
        f"{target} (message {id_}: {one_line(problem or '', _REASON_CHARACTERS)})" for id_, target, problem in rows
    ]
    more = [f"and {number - len(rows)} more"] if 0 < len(rows) < number else []
    return " ".join(str(id_) for id_, *_ in rows) or "ID", "; ".join([*named, *more]) or "their senders died"


def _why_waiting(connection: Connection, settings: Settings) -> str:
    try:
        missing = count_waiting(connection, channels_for(settings))
    except AnalyticsError as error:
        return str(error).rstrip(".")
    return ", ".join(f"{setting} is not set" for setting in missing) or "the list says why"


def _is_later(instant: datetime | None, since: datetime) -> bool:
    """Return whether a document was made since; one that counts no more without another has no instant."""
    return instant is None or instant > since


def _outdated(mail: OutdatedMail) -> str:
    return (
        f"{mail.period} for {describe_audience(mail.company_id)}, {_relation(mail)} ({len(mail.addresses)} recipients)"
    )


def _relation(mail: OutdatedMail) -> str:
    return describe_relation(mail.relation, mail.mailed_definitions, mail.current_definitions, mail.changes)
