"""Room on the disks of this machine: the home folder and the reports."""

import shutil
from pathlib import Path

from analytics_pipeline.health.check_result import CheckResult, Severity, Violation
from analytics_pipeline.settings import Settings

_GIB = 1024**3

# Below it writes begin to fail soon: a compression or a backup needs room beside what it works on.
FREE_LEAST = 1 * _GIB
FREE_SCARCE = 5 * _GIB
CHECK = "disk_space"


def disk_space(settings: Settings, database_bytes: int | None) -> list[CheckResult]:
    """Judge the disks of ``ANALYTICS_HOME`` and, if it is a folder elsewhere, of ``ANALYTICS_ARTIFACTS``."""
    findings = [judge_disk("home", settings.home, database_bytes)]
    artifacts = settings.artifacts_root
    if "://" in artifacts:
        skipped = f"The reports go to {artifacts.split('://')[0]}:// storage, which has no disk here."
        findings.append(CheckResult(check=CHECK, subject="artifacts", passed=True, skipped=True, summary=skipped))
    elif settings.home not in Path(artifacts).absolute().parents:
        findings.append(judge_disk("artifacts", Path(artifacts), None))
    return findings


def judge_disk(subject: str, folder: Path, database_bytes: int | None) -> CheckResult:
    """Judge the free room on the disk of a folder, which need not exist yet."""
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    usage = shutil.disk_usage(there)
    problems = []
    if usage.free < FREE_SCARCE:
        severity = Severity.ERROR if usage.free < FREE_LEAST else Severity.WARNING
        problems.append(
            Violation(
                f"the disk of {folder} has {_gib(usage.free)} free of {_gib(usage.total)}",
                f"du -xh --max-depth=2 {there} | sort -h | tail -20",
                severity,
            )
        )
    metadata = {
        "folder": str(folder),
        "free bytes": usage.free,
        "total bytes": usage.total,
        "error below": FREE_LEAST,
        "warning below": FREE_SCARCE,
    }
    if database_bytes is not None:
        metadata["database bytes"] = database_bytes
    return CheckResult.judge(
        CHECK,
        subject,
        problems,
        good=f"{_gib(usage.free)} are free on the disk of {folder}"
        + (f"; the database has {database_bytes / 1024**2:,.0f} MiB." if database_bytes is not None else "."),
        metadata=metadata,
    )


def _gib(size: int) -> str:
    return f"{size / _GIB:,.1f} GiB"
