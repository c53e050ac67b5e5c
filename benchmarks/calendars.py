"""A month of a company in New York beside the same month in UTC, users included: how many times as long it takes.

Both in processor time of the server's process, where that can be read: other work on the machine changes little of it.
Run it on a server: ANALYTICS_DATABASE_URL=postgresql://... python benchmarks/calendars.py [--events N] [--again]
A database is made there and dropped again; what was measured before is kept in benchmarks/results.
"""

import argparse
from datetime import date
from functools import partial

from _database import database, server_clock, server_url
from _history import close_inputs, fill
from _results import Results

from analytics_pipeline.companies.local_windows import local_window
from analytics_pipeline.database import connect
from analytics_pipeline.metrics.answers import revenue_answer, users_answer
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.windows import Window

ZONES = ("America/New_York", "Pacific/Auckland", "Asia/Kathmandu")
MONTH = date(2025, 10, 1), date(2025, 10, 31)
COMPANY = "company-3"
# Events are in euros: amounts in dollars need the rate of each date.
CURRENCIES = ("EUR", "USD")
# Few companies with many events each, and many with few.
COMPANIES = (10, 100)


def main() -> None:
    """Measure every line that has not been measured, and print all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--again", action="store_true", help="Measure again what was measured before.")
    arguments = parser.parse_args()
    server = server_url()
    results = Results("calendars", again=arguments.again)
    print("   ratio    local month       month of UTC")
    for companies in COMPANIES:
        measure(server, arguments.events, companies, results, arguments.rounds)


def measure(server: str, events: int, companies: int, results: Results, rounds: int) -> None:
    """Measure the answers about one company of so many, closed."""
    names = {
        (zone, currency): f"{zone}, in {currency} of euros, a company of {companies} with {events:,} events together"
        for zone in ZONES
        for currency in CURRENCIES
    }
    if all(results.has(name) for name in names.values()):
        for name in names.values():
            results.show(name)
        return
    with database(server), connect(autocommit=True) as connection:
        fill(connection, events, subscriptions=events // 50, companies=companies)
        connection.execute(
            "INSERT INTO analytics_fx_rates (rate_date, base, quote, rate, source) "
            "SELECT d, 'EUR', 'USD', 1 + extract(day FROM d) / 100, 'benchmark' "
            "FROM generate_series(timestamp '2024-12-01', timestamp '2025-12-31', interval '1 day') AS d"
        )
        close_inputs(connection)
        connection.execute("VACUUM ANALYZE")
        month = Window.of_dates(*MONTH)
        for (zone, currency), name in names.items():
            local = local_window(connection, *MONTH, zone)
            results.compare(
                name,
                partial(answer, connection, local, currency),
                partial(answer, connection, month, currency),
                rounds=rounds,
                clock=server_clock(connection),
            )


def answer(connection: Connection, window: Window, currency: str) -> None:
    """Ask for revenue, MRR, what moved it, and users of a month."""
    revenue_answer(connection, COMPANY, window, currency)
    users_answer(connection, COMPANY, window)


if __name__ == "__main__":
    main()
