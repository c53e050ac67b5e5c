"""What the API measures of itself, for Prometheus: requests and how long they took."""

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import Metric

# From the time of a 304 to that of a long answer.
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class _Families:
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        return self._families


class Measurements:
    """The counters of one application."""

    def __init__(self) -> None:
        """Begin at zero."""
        self.registry = CollectorRegistry()
        self._requests = Histogram(
            "analytics_api_request_seconds",
            "Duration of requests, by route, method and status.",
            ["route", "method", "status"],
            registry=self.registry,
            buckets=_BUCKETS,
        )
        self.database = Histogram(
            "analytics_api_database_seconds",
            "Duration of transactions, the wait for a connection included.",
            registry=self.registry,
            buckets=_BUCKETS,
        )
        # By their labels, which are few: looking one up by its labels takes a lock, and longer than counting.
        self._by_labels: dict[tuple[str, str, int], Histogram] = {}
        self._events = Counter(
            "analytics_api_events",
            "Events that came over the API, by outcome.",
            ["outcome"],
            registry=self.registry,
        )

    def with_families(self, families: Iterable[Metric]) -> CollectorRegistry:
        """Return these measurements and others together, for one scrape."""
        registry = CollectorRegistry()
        registry.register(_Families([*self.registry.collect(), *families]))
        return registry

    def note_events(self, outcomes: Mapping[str, int]) -> None:
        """Count events that came in."""
        for outcome, count in outcomes.items():
            self._events.labels(outcome).inc(count)

    def note_request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request."""
        labels = (route, method, status)
        histogram = self._by_labels.get(labels)
        if histogram is None:
            histogram = self._by_labels[labels] = self._requests.labels(*labels)
        histogram.observe(seconds)
