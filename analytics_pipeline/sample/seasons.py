"""When things happen: the rhythm of the day, the week, the month and the year (UTC)."""

from datetime import date, timedelta
from random import Random

from analytics_pipeline.sample.stream import DAY, HOUR

HOURLY_WEIGHTS = (1, 1, 1, 1, 2, 4, 8, 14, 20, 22, 20, 16, 15, 18, 20, 19, 16, 12, 8, 6, 5, 4, 3, 2)
WEEKDAY_FACTORS = (1.05, 1.10, 1.08, 1.05, 0.95, 0.40, 0.32)
MONTH_FACTORS = (1.01, 1.01, 1.02, 1.00, 1.00, 1.00, 0.95, 0.92, 1.01, 1.02, 1.03, 0.96)
CLOSING_FACTOR = 1.25
CLOSING_DAYS_BEFORE = 3
CLOSING_DAYS_AFTER = 2

_HOURS_BY_WEIGHT = tuple(hour for hour, weight in enumerate(HOURLY_WEIGHTS) for _ in range(weight))


def activity(day: date) -> float:
    """Return how busy the day is: around 1 on an ordinary weekday, more when books are closed."""
    factor = WEEKDAY_FACTORS[day.weekday()] * MONTH_FACTORS[day.month - 1]
    closing = day.day <= CLOSING_DAYS_AFTER or (day + timedelta(days=CLOSING_DAYS_BEFORE)).month != day.month
    return factor * CLOSING_FACTOR if closing else factor


def moment(day: int, rng: Random) -> int:
    """Return a second of the day (an ordinal), more often in its busy hours."""
    hour = _HOURS_BY_WEIGHT[int(rng.random() * len(_HOURS_BY_WEIGHT))]
    return day * DAY + hour * HOUR + int(rng.random() * HOUR)
