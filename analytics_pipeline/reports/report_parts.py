"""How the data of reports are read: those of a company, of all together, or of every company at once.

Every statement sees the same data. Each query serves a company, all of them together and every one by itself, so
that a thousand reports take as many statements as one.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Generic, TypeVar

from analytics_pipeline.metrics.periods import CompanyWindow
from analytics_pipeline.metrics.revenue import MrrFigures, RevenueFigures, mrr_figures, revenue_figures
from analytics_pipeline.metrics.scope import Scope, scope
from analytics_pipeline.metrics.top_events import EventCount
from analytics_pipeline.metrics.users import UserMetrics, user_figures
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.windows import Window

MAX_EVENT_TYPES = 15

# A company's id, None: all companies together.
Key = str | None
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True, eq=False)
class ReportPart(Generic[T_co]):
    """Data that sections show, under a name that no other part has.

    ``read`` gives it by company, in as many statements for a thousand of them as for one; ``nothing`` is what a company
    has that ``read`` gives nothing for.
    """

    name: str
    read: "Callable[[ReportLoader], Mapping[Key, T_co]]"
    nothing: T_co


def part_of_rows(query: str, kind: Callable[..., T]) -> "ReportPart[Sequence[T]]":
    """Return the part that is the rows of a named query, in its order.

    A row is a company's id, NULL for all together, and what ``kind`` is made of. The query is given the parameters of
    ``ReportLoader.rows``.
    """
    return ReportPart(query, lambda loader: loader.listed(query, kind), ())


class ReportLoader:
    """One reading of the database for a window; what it returns is by company.

    ``company`` is whose report is read, None: those of all together or, with ``each``, of every one by itself.
    ``previous`` is what the window is compared with, ``countable`` holds which of the two users can be counted in,
    ``horizon`` is where raw events begin, None: with the first. With ``each``, ``wanted`` says of which companies
    reports are read, None: of every one that has figures.
    """

    def __init__(
        self,
        connection: Connection,
        company: Key,
        window: Window,
        previous: Window,
        currency: str,
        *,
        each: bool,
        countable: Collection[Window],
        horizon: datetime | None,
        wanted: Callable[[str], bool] | None = None,
    ) -> None:
        """Take what is asked for; the connection has a view of the data open."""
        self.connection = connection
        self.company = company
        self.window = window
        self.previous = previous
        self.currency = currency
        self.each = each
        self.countable = countable
        self.horizon = horizon
        self.wanted = wanted or (lambda _: True)
        self._revenue: dict[tuple[Window, bool], dict[Key, RevenueFigures]] = {}
        self._users: dict[tuple[Window, bool], dict[Key, UserMetrics]] = {}
        self._movements: dict[tuple[Window, bool], dict[Key, MrrFigures]] = {}

    @cached_property
    def scope(self) -> Scope:
        """What the figures of the window say of themselves."""
        return scope(self.connection, self.company, self.window)

    @cached_property
    def keys(self) -> list[Key]:
        """Whose reports there are, in the order of their ids: those asked for, or every company that has figures."""
        if self.company is not None or not self.each:
            return [self.company]
        moved = {key for key, figures in self.movements([self.window])[self.window].items() if not figures.is_empty}
        counted = self.users([self.window])[self.window] if self.window in self.countable else {}
        found = {*self.revenue([self.window])[self.window], *moved, *counted, *self.events}
        return [*sorted(key for key in found if key is not None and self.wanted(key))]

    @cached_property
    def names(self) -> Mapping[str, str]:
        """What companies are called, by their ids, where they have a name."""
        return dict(self.connection.execute(load_query("company_names")).fetchall())

    @cached_property
    def events(self) -> Mapping[Key, tuple[Sequence[EventCount], int]]:
        """The most frequent event types of the window, and the number of all its events."""
        types: defaultdict[Key, list[EventCount]] = defaultdict(list)
        totals: dict[Key, int] = {}
        for key, event_type, category, count, total in self.rows("report_events", most=MAX_EVENT_TYPES):
            types[key].append(EventCount(event_type, category, count))
            totals[key] = total
        return {key: (types[key], total) for key, total in totals.items()}

    def rows(self, query: str, window: Window | None = None, **more: object) -> list[tuple[Any, ...]]:
        """Return the rows of a named query over the window, or another.

        Its parameters are ``company`` and ``each`` as they are here, the window's ``start`` and ``end`` (half-open),
        its time ``zone`` with ``first_day`` and ``last_day`` there, the reporting ``currency``, and those given here.
        """
        over = window or self.window
        parameters = {
            "company": self.company,
            "each": self.each,
            "start": over.start,
            "end": over.end,
            "zone": over.time_zone,
            "first_day": over.first_day,
            "last_day": over.last_day,
            "currency": self.currency,
            **more,
        }
        return self.connection.execute(load_query(query), parameters).fetchall()

    def listed(self, query: str, kind: Callable[..., T], **more: object) -> Mapping[Key, Sequence[T]]:
        """Return the rows of a named query by their first column, each as what ``kind`` makes of the others."""
        found: defaultdict[Key, list[T]] = defaultdict(list)
        for key, *fields in self.rows(query, None, **more):
            found[key].append(kind(*fields))
        return found

    def revenue(
        self, windows: Sequence[Window], *, each: bool | None = None
    ) -> dict[Window, dict[Key, RevenueFigures]]:
        """Return the revenue figures of windows where there are any.

        ``each``: of every company by itself, other than this reading is of.
        """

        def read(asked: Sequence[CompanyWindow]) -> list[RevenueFigures | None]:
            figures = revenue_figures(self.connection, asked, self.currency)
            return [None if one.is_empty else one for one in figures]

        return self._read_once(self._revenue, windows, read, each=each)

    def users(self, windows: Sequence[Window], *, each: bool | None = None) -> dict[Window, dict[Key, UserMetrics]]:
        """Return the user figures of windows where there are any; ``each`` as for ``revenue``."""

        def read(asked: Sequence[CompanyWindow]) -> list[UserMetrics | None]:
            return [None if one.is_empty else one.metrics for one in user_figures(self.connection, asked)]

        return self._read_once(self._users, windows, read, each=each)

    def movements(self, windows: Sequence[Window]) -> dict[Window, dict[Key, MrrFigures]]:
        """Return what moved MRR in windows; of those without any there may still be a year to compare revenue with."""

        def read(asked: Sequence[CompanyWindow]) -> list[MrrFigures]:
            return mrr_figures(self.connection, asked, self.currency)

        return self._read_once(self._movements, windows, read)

    def _read_once(
        self,
        known: dict[tuple[Window, bool], dict[Key, T]],
        windows: Sequence[Window],
        read: Callable[[Sequence[CompanyWindow]], Iterable[T | None]],
        *,
        each: bool | None = None,
    ) -> dict[Window, dict[Key, T]]:
        """Return what is known of windows, having read, and noted as known, what was not; None is left out."""
        of_each = self.each if each is None else each
        if missing := [window for window in windows if (window, of_each) not in known]:
            known |= {(window, of_each): {} for window in missing}
            asked = self._asked(missing, each=of_each)
            for (key, window), one in zip(asked, read(asked), strict=True):
                if one is not None:
                    known[window, of_each][key] = one
        return {window: known[window, of_each] for window in windows}

    def _asked(self, windows: Sequence[Window], *, each: bool) -> list[CompanyWindow]:
        """Return each window of whoever is asked for: a company, all together, or every one that may have figures."""
        keys: Sequence[Key] = [self.company]
        if each and self.company is None:
            first, last = min(windows), max(windows)
            query = "SELECT analytics_companies_of(analytics_previous_start(%s, %s), %s)"
            (keys,) = fetch_row(self.connection, query, [first.start, first.end, last.end])
            keys = [key for key in keys if key is not None and self.wanted(key)]
        return [(key, window) for window in windows for key in keys]
