"""Whether the figures of signed months are still those that were signed."""

from analytics_pipeline.asset_names import MONTHLY_REPORT
from analytics_pipeline.health.check_result import CheckResult, Severity, Violation
from analytics_pipeline.metrics.signoffs import SignOff, read_signoffs
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.connection import Connection

CHECK = "no_restatements"
_MAX_SHOWN = 3
_MAX_LISTED = 200


def no_restatements(connection: Connection, settings: Settings) -> CheckResult:  # noqa: ARG001
    """Judge that no figure of a signed month differs from the signed one."""
    signed = read_signoffs(connection, None)
    restated = [signoff for signoff in signed if signoff.is_restated]
    problems = []
    if restated:
        named = "; ".join(_named(signoff) for signoff in restated[:_MAX_SHOWN])
        more = f"; and {len(restated) - _MAX_SHOWN} more" if len(restated) > _MAX_SHOWN else ""
        problems.append(
            Violation(
                f"{len(restated)} of {len(signed)} sign-offs are restated: {named}{more}",
                "analytics-pipeline periods restatements",
                Severity.WARNING,
            )
        )
    redefined = [signoff for signoff in signed if signoff.differs_by_definition]
    rows = [row for signoff in restated for row in _rows(signoff)]
    good = f"Every figure of {len(signed)} sign-offs is as it was signed"
    if redefined:
        good += f", but for those of {len(redefined)} that differ by definition: {redefined[0].causes[0]}"
    return CheckResult.judge(
        CHECK,
        MONTHLY_REPORT,
        problems,
        good=f"{good}." if signed else "No month is signed off: nothing can be restated.",
        metadata={
            "sign-offs": len(signed),
            "restatements": rows[:_MAX_LISTED],
            "restated figures": sum(len(signoff.restatements) for signoff in restated),
            "sign-offs that differ by definition": len(redefined),
        },
        limits={"restated figures allowed": 0},
    )


def _named(signoff: SignOff) -> str:
    causes = "; ".join(str(cause) for cause in signoff.causes)
    because = f", because of {causes}" if causes else ""
    first, number = signoff.restatements[0], len(signoff.restatements)
    others = f" and {number - 1} more" if number > 1 else ""
    return (
        f"{signoff.period} of {_whose(signoff)}, {first.label} is {first.after} and was signed as "
        f"{first.before}{others}{because}"
    )


def _rows(signoff: SignOff) -> list[dict[str, str]]:
    """Return a row for each figure that differs."""
    causes = "; ".join(str(cause) for cause in signoff.causes)
    return [
        {
            "month": signoff.period,
            "company": _whose(signoff),
            "signed by": signoff.signed_by,
            "figure": restated.label,
            "before": _number(restated.before),
            "after": _number(restated.after),
            "difference": _number(restated.difference),
            "caused by": causes,
        }
        for restated in signoff.restatements
    ]


def _number(value: object) -> str:
    return "" if value is None else f"{value:f}"


def _whose(signoff: SignOff) -> str:
    return "all companies" if signoff.company_id is None else signoff.company_id
