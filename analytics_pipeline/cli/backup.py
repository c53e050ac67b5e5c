"""``analytics-pipeline backup`` and ``restore``: the databases as a whole, or the events alone."""

import shlex
import time
from dataclasses import asdict
from datetime import UTC, datetime

import click

from analytics_pipeline.cli.ingest import SOME_REJECTED, new_rejects_path, print_summary, summary_figures
from analytics_pipeline.cli.terminal import echo, echo_json
from analytics_pipeline.metrics.access import describe_company
from analytics_pipeline.operations.backup import make_backup
from analytics_pipeline.operations.events_files import export_events, import_events
from analytics_pipeline.operations.manifest import Kind, Manifest
from analytics_pipeline.operations.places import Backup, open_backup
from analytics_pipeline.operations.restore import Restored, rehearse_restore, restore_backup
from analytics_pipeline.settings import get_settings
from analytics_pipeline.signals import describing
from analytics_pipeline.timescale.policies import APPLY


@click.command()
@click.argument("place", required=False)
@click.option("--events", "events_only", is_flag=True, help="The events alone, as Parquet files of a month each.")
@click.option("--without-dagster", is_flag=True, help="Leave Dagster's storage out.")
@click.option("--json", "as_json", is_flag=True, help="Print what was written as JSON.")
def backup(place: str | None, *, events_only: bool, without_dagster: bool, as_json: bool) -> None:
    """Write a backup of the database and of Dagster's storage into a new folder of PLACE.

    PLACE is a folder or an object-store URI; default: ANALYTICS_BACKUPS, or the folder backups under ANALYTICS_HOME. A
    server is dumped by pg_dump of its own version, as of one instant, while everybody works on; compressing and
    dropping chunks waits. Of the embedded database the data directory is copied, and others wait. The manifest, written
    last, says what is in it.

    With --events the folder holds files that "restore", or "ingest", brings into any other database.
    """
    settings = get_settings()
    root = place or settings.backups or str(settings.home / "backups")
    started = time.monotonic()
    with describing(lambda: "there is no backup of it; what was there before stays."):
        if events_only:
            made = export_events(settings, root, _say)
        else:
            made = make_backup(settings, root, _say, with_dagster=not without_dagster)
    _show_backup(made, made.manifest(), time.monotonic() - started, as_json=as_json)


@click.command()
@click.argument("backup_folder", metavar="BACKUP")
@click.option("--without-dagster", is_flag=True, help="Restore the database alone; adopt then marks what is closed.")
@click.option("--check", is_flag=True, help="Only read the files and compare their checksums.")
@click.option("--rehearse", is_flag=True, help="Restore into databases made for it, compare, and drop them.")
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
def restore(backup_folder: str, *, without_dagster: bool, check: bool, rehearse: bool, as_json: bool) -> None:
    """Restore BACKUP, a folder that "backup" has written, into empty databases, and prove that all of it is there.

    The targets are those of the settings: ANALYTICS_DATABASE_URL and DAGSTER_POSTGRES_URL, or the embedded databases
    under ANALYTICS_HOME. The server needs the very version of TimescaleDB, and PostgreSQL of the same version or a
    later one. Policies are switched off: "db policies --apply" switches them on.

    A backup of the events alone is ingested like any file of events, into a migrated database that may hold some.

    Exit status: 0 all of it is there, 1 something is not as in the backup, 3 some events were rejected or in conflict.
    """
    settings = get_settings()
    found = open_backup(backup_folder)
    if check and rehearse:
        raise click.UsageError("--check and --rehearse exclude each other: a rehearsal checks the files, too.")
    if check:
        manifest = found.manifest()
        found.require_undamaged(manifest)
        _show_backup(found, manifest, None, as_json=as_json)
        return
    if found.manifest().kind is Kind.EVENTS:
        if rehearse:
            raise click.UsageError("A backup of the events alone can't be rehearsed: --check compares its checksums.")
        _import(found, as_json=as_json)
        return
    started = time.monotonic()
    with describing(lambda: "the backup is not restored; drop what was restored of it, and repeat."):
        if rehearse:
            restored = rehearse_restore(settings, found, _say)
        else:
            restored = restore_backup(settings, found, _say, with_dagster=not without_dagster)
    _show_restored(restored, time.monotonic() - started, is_rehearsal=rehearse, as_json=as_json)
    if restored.differences:
        raise SystemExit(1)


def _import(found: Backup, *, as_json: bool) -> None:
    settings = get_settings()
    rejects = new_rejects_path()
    with describing(lambda: "what was ingested stays; the same command ingests the rest."):
        summary = import_events(settings, found, rejects, _say)
    figures = summary_figures(summary, rejects)
    print_summary(figures, as_json=as_json)
    if summary.rejected:
        raise SystemExit(SOME_REJECTED)


def _say(line: str) -> None:
    echo(f"{datetime.now(UTC):%H:%M:%S}  {line}", err=True)


def _show_backup(found: Backup, manifest: Manifest, seconds: float | None, *, as_json: bool) -> None:
    figures = {
        "backup": found.location,
        "kind": str(manifest.kind),
        "startedAt": manifest.started_at,
        "bytes": manifest.bytes,
        "rows": manifest.database.content.rows if manifest.database else sum(file.rows or 0 for file in manifest.files),
        "chunks": len(manifest.database.content.chunks) if manifest.database else 0,
        "dagsterRows": manifest.dagster.content.rows if manifest.dagster else None,
        "timescaledb": manifest.timescaledb,
        "schema": manifest.schema,
        **({} if seconds is None else {"seconds": round(seconds, 1)}),
    }
    if as_json:
        echo_json(figures)
        return
    for name, value in figures.items():
        echo(f"{name:<14}{f'{value:,}' if isinstance(value, int | float) else value or 'none'}")


def _show_restored(restored: Restored, seconds: float, *, is_rehearsal: bool, as_json: bool) -> None:
    if as_json:
        figures = {
            "backup": restored.manifest.name,
            "differences": list(restored.differences),
            "switchedOff": [asdict(policy) for policy in restored.switched_off],
            "lostGrants": [{"role": grant.role, "companyId": grant.company_id} for grant in restored.lost_grants],
            "notes": list(restored.notes),
            "seconds": round(seconds, 1),
        }
        echo_json(figures)
        return
    content = restored.manifest.database.content if restored.manifest.database else None
    for line in restored.differences:
        echo(f"differs   {line}")
    if not restored.differences and content is not None:
        compressed = sum(chunk.compressed for chunk in content.chunks)
        months = ", ".join(month.month for month in content.figures) or "none"
        echo(
            f"As in the backup: {content.rows:,} rows of {len(content.tables)} tables, {len(content.chunks)} chunks "
            f"({compressed} compressed), {len(content.policies)} policies, the figures of {months}; {seconds:.1f} s."
        )
    for note in restored.notes:
        echo(f"note      {note}")
    if is_rehearsal:
        return
    if restored.switched_off:
        names = ", ".join(f"{policy.procedure} of {policy.relation}" for policy in restored.switched_off)
        echo(f"switched off  {names}: '{APPLY}' switches them on.")
    for grant in restored.lost_grants:
        echo(
            f"no longer holds  {grant.role}: {describe_company(grant.company_id)}. If the role of this server is the "
            f"same person: analytics-pipeline access confirm {shlex.quote(grant.role)}"
        )
