"""Two months of two companies, with everything a report shows: small enough to add up by hand."""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

from analytics_pipeline.metrics.tables import METRIC_TABLES, close_metric
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.windows import Granularity, Window
from analytics_pipeline_tests.conftest import Database, migrated_database
from analytics_pipeline_tests.events_factory import at
from analytics_pipeline_tests.metrics.closing import close_inputs

DECEMBER = Window.of_month(date(2025, 12, 1))
JANUARY = Window.of_month(date(2026, 1, 1))
ODD_DAYS = Window.of_dates(date(2026, 1, 5), date(2026, 1, 14))
BOTH = Window(DECEMBER.start, JANUARY.end)
COMPANIES = ("acme", "globex")

_PAYMENT, _REFUND = ("payment.received", "revenue"), ("payment.refunded", "revenue")
_INVOICE, _LOGIN = ("invoice.created", "billing"), ("user.login", "user_activity")
_BOUGHT, _STARTED = ("crypto.received", "crypto"), ("subscription.started", "subscription")
_CHANGED, _ENDED = ("subscription.changed", "subscription"), ("subscription.ended", "subscription")

# Company, time, type and category, user, value, currency, and a subscription's name and status.
_EVENTS = (
    ("acme", "2025-12-03T09:00", _PAYMENT, "ann", "100.10", "EUR"),
    ("acme", "2025-12-04T09:00", _INVOICE, "ann", "100.10", "EUR"),
    ("acme", "2025-12-10T09:00", _STARTED, "ann", "100", "EUR", "s1", "active"),
    ("acme", "2025-12-11T09:00", _STARTED, "bob", "120", "USD", "s2", "active"),
    ("acme", "2025-12-20T09:00", _LOGIN, "bob", None, None),
    ("acme", "2026-01-05T09:00", _PAYMENT, "ann", "200.005", "EUR"),
    ("acme", "2026-01-06T10:00", _PAYMENT, "bob", "33.333", "USD"),
    ("acme", "2026-01-06T11:00", _REFUND, "ann", "-20.50", "EUR"),
    ("acme", "2026-01-07T11:00", _REFUND, "bob", "-3.33", "USD"),
    ("acme", "2026-01-08T09:00", _INVOICE, "ann", "250", "EUR"),
    ("acme", "2026-01-09T09:00", _CHANGED, "ann", "150", "EUR", "s1", "active"),
    ("acme", "2026-01-10T09:00", _ENDED, "bob", "0", "USD", "s2", "ended"),
    ("acme", "2026-01-11T09:00", _STARTED, "cid", "10", "EUR", "s3", "active"),
    ("acme", "2026-01-12T09:00", _BOUGHT, "cid", "0.00012345", "BTC"),
    ("acme", "2026-01-13T09:00", _BOUGHT, "cid", "3", "ACMECOIN"),
    ("acme", "2026-01-14T09:00", ("feature.acme_only", "user_activity"), "dan", None, None),
    ("globex", "2025-12-05T09:00", _PAYMENT, "eve", "1000", "EUR"),
    ("globex", "2026-01-05T09:00", _PAYMENT, "eve", "999.99", "EUR"),
    ("globex", "2026-01-06T09:00", _PAYMENT, "fay", "777.77", "EUR"),
    ("globex", "2026-01-06T12:00", _BOUGHT, "fay", "7", "GLOBEXCOIN"),
    ("globex", "2026-01-07T09:00", ("feature.globex_only", "user_activity"), "fay", None, None),
)
_RATES = """
INSERT INTO analytics_fx_rates (rate_date, base, quote, rate, source)
SELECT d::date, r.base, r.quote, CASE WHEN d < '2026-01-07' THEN r.before ELSE r.since END, 'test'
FROM generate_series(%s::timestamp, %s, interval '1 day') AS d
CROSS JOIN (VALUES ('EUR', 'USD', 1.20, 1.25), ('BTC', 'EUR', 60000, 60000)) AS r (base, quote, before, since)
"""
_INSERT = """
INSERT INTO analytics_events (
    event_id, "timestamp", ingested_at, company_id, user_id, event_type, category, value, currency, metadata
)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""


@contextmanager
def ledger_database(embedded_home: Path, folder: Path) -> Iterator[Database]:
    """Make a database that holds the ledger, both months closed."""
    with migrated_database(embedded_home, folder) as database:
        with database.connect(autocommit=True) as connection:
            fill(connection)
            close_months(connection)
        yield database


def close_months(connection: Connection) -> None:
    """Close both months, or close them again."""
    close_inputs(connection, BOTH)
    for table in METRIC_TABLES:
        close_metric(connection, table, Granularity.MONTH, BOTH, "EUR")


def fill(connection: Connection) -> None:
    """Write the rates and the events; each event arrived five minutes after it happened."""
    connection.execute(_RATES, [DECEMBER.start.date(), JANUARY.last_day])
    for company, time, (event_type, category), user, value, currency, *subscription in _EVENTS:
        metadata: dict[str, str | int] = {}
        if subscription:
            name, status = subscription
            metadata = {"subscription_id": name, "status": status, "interval": "month"}
            metadata |= {"interval_count": 1, "quantity": 1}
        amount = None if value is None else Decimal(value)
        times = (at(time), at(time) + timedelta(minutes=5))
        fields = (company, user, event_type, category, amount, currency, json.dumps(metadata))
        connection.execute(_INSERT, [uuid.uuid4(), *times, *fields])
