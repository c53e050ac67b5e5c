"""Limits of requests: how many a caller may send, and how large each may be."""

import time
from collections import OrderedDict

from analytics_pipeline.api.problems import ApiError

_MAX_CALLERS = 10_000


class RateLimit:
    """So many requests a second for each name, of which a burst may come at once; 0: no limit."""

    def __init__(self, per_second: float, burst: float) -> None:
        """Take the limit."""
        self._per_second = per_second
        self._burst = burst
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def seconds_to_wait(self, name: str) -> float:
        """Count a request, and return 0; if it is one too many, count nothing and return how long to wait."""
        if not self._per_second:
            return 0.0
        now = time.monotonic()
        left, since = self._left.get(name, (self._burst, now))
        left = min(self._burst, left + (now - since) * self._per_second)
        if left < 1:
            return (1 - left) / self._per_second
        self._left[name] = (left - 1, now)
        self._left.move_to_end(name)
        if len(self._left) > _MAX_CALLERS:
            self._left.popitem(last=False)
        return 0.0

    def require(self, name: str) -> None:
        """Count a request. Raises ``ApiError`` 429 for one too many."""
        wait = self.seconds_to_wait(name)
        if wait:
            raise ApiError(
                429, "Too many requests: wait, and repeat.", headers={"Retry-After": str(max(1, round(wait + 0.5)))}
            )
