"""What the API measures of itself, for Prometheus: requests and how long they took."""

from prometheus_client import CollectorRegistry, Counter, Histogram

# From the time of a 304 to that of a long answer.
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


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
        self.events = Counter(
            "analytics_api_events",
            "Events that came over the API, by outcome.",
            ["outcome"],
            registry=self.registry,
        )

    def note_request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(route, method, status).observe(seconds)
