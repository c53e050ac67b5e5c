"""From a report to a stored document, here or in worker processes."""

import gc
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from itertools import chain, islice
from multiprocessing.connection import wait
from pathlib import Path

from analytics_pipeline.database import reading
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.intake.rejection import shown
from analytics_pipeline.reports.catalogue import parts_of
from analytics_pipeline.reports.documents import Figure
from analytics_pipeline.reports.fonts import FontFiles, adopt_fonts, font_files
from analytics_pipeline.reports.headlines import headline_figures, headline_numbers
from analytics_pipeline.reports.load import load_report
from analytics_pipeline.reports.order import AcceptedOrder
from analytics_pipeline.reports.render import Rendered, render_report
from analytics_pipeline.reports.report import Report
from analytics_pipeline.settings import Settings
from analytics_pipeline.store import StoredArtifact, store_artifact, write_file
from analytics_pipeline.timescale.connection import Connection

# So few are rendered sooner than processes start. More workers take memory that a container may not have.
_RENDERED_HERE = 8
_MAX_WORKERS = 4
# Documents given to each worker ahead: none of them waits, and memory stays small however many there are.
_AHEAD = 4
_SUFFIXES = {".pdf", ".xlsx", ".csv", ".zip", ".json"}
_MAX_SHOWN = 3


@dataclass(frozen=True, slots=True)
class PublishedReport:
    """A stored document: where it is, its pages (None: it has none), its size in bytes and its checksum.

    ``name`` is its name in the store, None for one that was written elsewhere; ``path`` is the local path, or the URI
    again in an object store. ``earlier_revision`` is where the document that this one replaced is kept. ``figures``
    are the headline figures as they are printed, ``numbers`` those that charts over many documents are made of;
    ``altered_characters`` lists what the font could not show and the
    page shows as a mark.
    """

    name: str | None
    uri: str
    path: str
    pages: int | None
    size: int
    sha256: str
    earlier_revision: str | None
    figures: tuple[Figure, ...]
    numbers: Mapping[str, Decimal | int]
    altered_characters: tuple[str, ...]


class UnrenderedReportError(AnalyticsError):
    """A report that could not be rendered, whatever its data hold; others can be all the same."""


@dataclass(frozen=True, slots=True)
class Job:
    """A report to be rendered as it was ordered, and stored under a name, None: the one that the order gives it."""

    report: Report
    order: AcceptedOrder
    name: str | None = None


def load_order(connection: Connection, order: AcceptedOrder) -> Report:
    """Return the report that was ordered."""
    return load_report(connection, order.company_id, order.window, order.currency, parts_of(order.sections))


def publish_order(connection: Connection, settings: Settings, order: AcceptedOrder) -> PublishedReport:
    """Render and store a report; ordered again, it replaces the document and keeps the earlier revision."""
    with reading(settings, connection) as reader:
        report = load_order(reader, order)
    return publish(settings.artifacts_root, Job(report, order))


def write_order(connection: Connection, order: AcceptedOrder, target: Path) -> PublishedReport:
    """Render a report into a local file, whole or not at all; raises ``AnalyticsError`` if it can't be written."""
    report = load_order(connection, order)
    rendered = render_report(report, order)
    if target.suffix.lower() in _SUFFIXES - {rendered.suffix}:
        tables = ": several tables are a zip of files" if rendered.suffix == ".zip" else ""
        raise AnalyticsError(
            f"{target.name} would be a {rendered.suffix} file{tables}; name it {target.stem}{rendered.suffix}."
        )
    return _published(None, write_file(target, rendered.content), rendered, Job(report, order))


def publish(root: str, job: Job) -> PublishedReport:
    """Render and store one report under the artifacts' root; raises ``UnrenderedReportError`` if it can't be set."""
    try:
        rendered = render_report(job.report, job.order)
    # Whatever surprises the data of one company hold, the error names it.
    except Exception as error:
        raise UnrenderedReportError(
            f"The report of {shown(job.report.company)} can't be rendered: {error!r}"
        ) from error
    name = job.name or job.order.name(rendered.suffix)
    return _published(name, store_artifact(root, name, rendered.content), rendered, job)


def publish_all(root: str, jobs: Iterable[Job]) -> Iterator[tuple[Job, PublishedReport]]:
    """Render and store reports and yield them in their order; many are spread over processes.

    One that can't be rendered keeps none of the others: raises ``AnalyticsError`` naming those at the end.
    """
    unrendered: list[UnrenderedReportError] = []
    count = 0
    for job, made in _results(root, iter(jobs)):
        count += 1
        try:
            yield job, made()
        except UnrenderedReportError as error:
            unrendered.append(error)
    if unrendered:
        named = "; ".join(map(str, unrendered[:_MAX_SHOWN]))
        more = f"; and {len(unrendered) - _MAX_SHOWN} more" if len(unrendered) > _MAX_SHOWN else ""
        raise AnalyticsError(
            f"{len(unrendered)} of {count} reports could not be made, the others are stored. {named}{more}"
        )


def _results(root: str, jobs: Iterator[Job]) -> Iterator[tuple[Job, Callable[[], PublishedReport]]]:
    """Yield each job with what gives, or raises, its result."""
    first = list(islice(jobs, _RENDERED_HERE + 1))
    if len(first) <= _RENDERED_HERE:
        yield from ((job, partial(publish, root, job)) for job in first)
        return
    workers = min(os.cpu_count() or 1, _MAX_WORKERS)
    # Not forked: this process has threads and connections that a copy of it must not use.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=_start_worker, initargs=(font_files(),)) as pool:
        running: deque[tuple[Job, Future[PublishedReport]]] = deque()
        try:
            for job in chain(first, jobs):
                running.append((job, pool.submit(publish, root, job)))
                if len(running) >= workers * _AHEAD:
                    earliest, future = running.popleft()
                    yield earliest, future.result
            for earliest, future in running:
                yield earliest, future.result
        finally:
            # After a failure nobody waits for the rest.
            pool.shutdown(cancel_futures=True)


def _start_worker(fonts: FontFiles) -> None:
    # Ctrl-C is for the process that started this one, which ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    adopt_fonts(fonts)
    # What is there now stays: not looking through it for reference cycles again and again saves a tenth of the time.
    gc.freeze()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when the one that started it is gone: killed, it could not say so."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _published(name: str | None, stored: StoredArtifact, rendered: Rendered, job: Job) -> PublishedReport:
    return PublishedReport(
        name=name,
        uri=stored.uri,
        path=stored.path,
        pages=rendered.pages,
        size=stored.size,
        sha256=stored.sha256,
        earlier_revision=stored.earlier_revision,
        figures=headline_figures(job.report, job.order.locale),
        numbers=headline_numbers(job.report),
        altered_characters=rendered.altered_characters,
    )
