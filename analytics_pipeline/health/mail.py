"""Whether what was to be sent has been sent."""

from datetime import timedelta

from analytics_pipeline.health.finding import Finding, Problem, Severity
from analytics_pipeline.reports.documents import MONTHLY_REPORT
from analytics_pipeline.settings import Settings
from analytics_pipeline.sql_files import load_sql
from analytics_pipeline.timescale.connection import Connection, fetch_row

# Long enough for somebody to look; what was not mended by then has been talked about otherwise.
LOOK_BACK = timedelta(days=14)
# A message may wait for a mail server that is restarted.
PATIENCE = timedelta(hours=1)
CHECK = "mail_delivered"


def mail_delivered(connection: Connection, settings: Settings) -> Finding:
    """Judge the messages of the outbox: reports and alerts."""
    failed, unknown, waiting, oldest, sent = fetch_row(
        connection, load_sql("queries/outbox_health.sql"), {"look_back": LOOK_BACK, "patience": PATIENCE}
    )
    problems = []
    if failed:
        problems.append(
            Problem(
                f"{failed} messages of the last {LOOK_BACK.days} days were not delivered, and are not tried again",
                "analytics-pipeline outbox list --state failed",
                fallback="analytics-pipeline outbox retry ID, or outbox discard ID",
            )
        )
    if unknown:
        problems.append(
            Problem(
                f"of {unknown} messages nobody knows whether they were delivered: ask the recipient",
                "analytics-pipeline outbox list --state unknown",
                fallback="analytics-pipeline outbox discard ID if it arrived, outbox retry ID if not",
            )
        )
    if waiting:
        why = "ANALYTICS_SMTP_URL is not set" if settings.smtp_url is None else "the list says why"
        problems.append(
            Problem(
                f"{waiting} messages have been waiting for more than an hour: {why}",
                "analytics-pipeline outbox list --state pending",
                Severity.WARNING,
            )
        )
    return Finding.judge(
        CHECK,
        MONTHLY_REPORT,
        problems,
        good=f"Nothing waits, and everything of the last {LOOK_BACK.days} days was delivered: {sent} messages.",
        metadata={
            "failed": failed,
            "possibly delivered": unknown,
            "failed or unknown allowed": 0,
            "waiting for more than an hour": waiting,
            "oldest waiting since": oldest,
            "sent": sent,
            "days looked at": LOOK_BACK.days,
        },
    )
