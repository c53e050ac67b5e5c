"""What checks found over windows of closed partitions, kept in the database.

Dagster shows it too; here it stands beside the figures, for whoever reads those without Dagster.
"""

from analytics_pipeline.health.check_result import CheckResult
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.windows import Window


def record_result(connection: Connection, finding: CheckResult, window: Window) -> None:
    """Write down what a check found over a window, in place of what it found before in any part of that."""
    parameters = {
        "subject": finding.subject,
        "check": finding.check,
        "start": window.start,
        "end": window.end,
        "passed": finding.passed,
        "severity": str(finding.severity),
        "summary": finding.summary,
    }
    connection.execute(load_query("check_result_record"), parameters)
