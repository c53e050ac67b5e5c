"""Answers over HTTP: the documented fields in their order, exact numbers, parameters, and conditional requests."""

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from analytics_pipeline.api.versions import MAX_AGE_SECONDS
from analytics_pipeline.cli.terminal import as_json
from analytics_pipeline.metrics.answers import (
    Answer,
    crypto_answer,
    movements_answer,
    revenue_answer,
    top_events_answer,
    users_answer,
)
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.windows import Window
from analytics_pipeline_tests.api.conftest import ANYBODY, HEADLINE, OTHER, Served
from analytics_pipeline_tests.conftest import SERVER_URL
from analytics_pipeline_tests.events_factory import add_event
from analytics_pipeline_tests.metrics.closing import days

FEBRUARY = days("2026-02-01", "2026-02-28")
DATES = {"startDate": "2026-02-01", "endDate": "2026-02-28"}


def get(served: Served, path: str, whose: str = HEADLINE.company, **parameters: str) -> Any:
    return served.client.get(f"/analytics/{path}", params=parameters, headers=served.headers(whose))


def test_revenue_has_the_agreed_fields_first_and_its_decimals(served: Served) -> None:
    assert get(served, "revenue", **DATES).text.startswith(
        '{"mrr":2500.00,"arr":30000.00,"totalRevenue":15000.00,"averageRevenuePerUser":150.00,"revenueGrowth":15.5,'
        '"currency":"EUR",'
    )


def test_users_have_the_agreed_fields_first(served: Served) -> None:
    assert get(served, "users", **DATES).text.startswith(
        '{"totalUsers":100,"activeUsers":85,"newUsers":15,"churnedUsers":5,"churnRate":5.0,"activeUserRate":85.0,'
    )


Ask = Callable[[Connection, str | None, Window], Answer]
SAME: dict[str, Ask] = {
    "revenue": lambda c, company, window: revenue_answer(c, company, window, "EUR"),
    "users": users_answer,
    "movements": lambda c, company, window: movements_answer(c, company, window, "EUR"),
    "crypto": lambda c, company, window: crypto_answer(c, company, window, "EUR"),
    "events/top": lambda c, company, window: top_events_answer(c, company, window, 10),
}


@pytest.mark.parametrize("path", SAME)
@pytest.mark.slow
def test_an_answer_says_what_the_command_says(served: Served, path: str) -> None:
    for whose, company in ((HEADLINE.company, HEADLINE.company), ("operator", None)):
        with served.database.connect(autocommit=True) as connection:
            expected = SAME[path](connection, company, FEBRUARY)
        assert get(served, path, whose, **DATES).json(parse_float=Decimal) == expected
        strings = get(served, path, whose, **DATES, numbers="string")
        assert strings.json() == json.loads(json.dumps(expected, default=as_json))
        assert list(strings.json()) == list(expected)


@pytest.mark.slow
def test_a_series_holds_the_figures_of_its_periods(served: Served) -> None:
    year = {"startDate": "2026-01-01", "endDate": "2026-03-31"}
    months = get(served, "revenue/series", **year).json(parse_float=Decimal)
    assert (months["interval"], [entry["start"] for entry in months["series"]]) == (
        "month",
        ["2026-01", "2026-02", "2026-03"],
    )
    assert months["series"][1]["totalRevenue"] == Decimal("15000.00")
    hours = get(served, "revenue/series", interval="hour", startDate="2026-02-28", endDate="2026-02-28").json()
    assert (len(hours["series"]), hours["series"][23]) == (24, hours["series"][23] | {"totalRevenue": 6000.0})
    users = get(served, "users/series", **year).json()
    february = get(served, "users", **DATES).json()
    instants = {"startsAt": "2026-02-01T00:00:00Z", "endsAt": "2026-03-01T00:00:00Z"}
    assert users["series"][1] == {"start": "2026-02"} | instants | {
        name: february[name] for name in list(users["series"][1])[3:]
    }
    assert get(served, "users/series", interval="hour", **year).status_code == 422


def test_without_dates_the_current_month_is_answered(served: Served) -> None:
    with served.database.connect(autocommit=True) as connection:
        (today,) = connection.execute("SELECT (now() AT TIME ZONE 'UTC')::date").fetchone() or (None,)
    answer = get(served, "revenue").json()
    assert answer["startDate"] == f"{today:%Y-%m-01}"
    assert answer["provisional"] is True


@pytest.mark.parametrize(
    "query",
    [
        "startDate=2026-02-01",
        "startDate=2026-02-30&endDate=2026-03-01",
        "startDate=2026-03-02&endDate=2026-03-01",
        "startDate=20260201&endDate=2026-03-01",
        "startDate=1770000000&endDate=2026-03-01",
        "startDate=0001-01-01&endDate=9999-12-31",
        "currency=XXQ",
        "numbers=float",
        "start=2026-02-01",
        "companyId=",
    ],
)
def test_parameters_that_mean_nothing_are_named(served: Served, query: str) -> None:
    response = served.client.get(f"/analytics/revenue?{query}", headers=served.headers())
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["requestId"] == response.headers["x-request-id"]


def test_a_parameter_given_twice_is_refused(served: Served) -> None:
    response = served.client.get("/analytics/revenue?currency=EUR&currency=USD", headers=served.headers())
    assert (response.status_code, response.json()["detail"]) == (422, "currency: give it once")


@pytest.mark.slow
def test_an_answer_is_not_sent_again_until_something_changes(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {"startDate": "2026-05-01", "endDate": "2026-05-31"}

    def status(etag: str) -> int:
        headers = {**served.headers(ANYBODY), "If-None-Match": etag}
        return int(served.client.get("/analytics/revenue", params=asked, headers=headers).status_code)

    etag = get(served, "revenue", ANYBODY, **asked).headers["etag"]
    # The second time without a look at the request.
    assert [status(etag), status(etag)] == [304, 304]
    assert get(served, "revenue", ANYBODY, **asked, numbers="string").headers["etag"] != etag
    state = served.client.app.state  # type: ignore[attr-defined]
    with monkeypatch.context() as started_again:
        dollars = state.settings.model_copy(update={"base_currency": "USD"})
        started_again.setitem(state._state, "settings", dollars)
        state.given._given.clear()
        assert status(etag) == 200
    with served.database.connect(autocommit=True) as connection:
        add_event(connection, "2026-05-02", company_id=ANYBODY)
    served.client.app.state.versions._until -= MAX_AGE_SECONDS  # type: ignore[attr-defined]  # a second goes by
    assert status(etag) == 200


@pytest.mark.skipif(SERVER_URL is None, reason="the embedded server has one transaction at a time")
def test_a_change_that_is_undone_changes_no_version_and_one_that_stands_does(served: Served) -> None:
    def version(connection: Connection) -> Any:
        return connection.execute("SELECT analytics_data_version()").fetchone()

    with served.database.connect() as writer, served.database.connect(autocommit=True) as reader:
        # The chunk is there: who makes one is waited for.
        add_event(reader, "2026-05-02", company_id=ANYBODY)
        before = version(reader)
        add_event(writer, "2026-05-03", company_id=ANYBODY)
        # A second writer does not wait for the first one.
        with served.database.connect() as other:
            add_event(other, "2026-05-04", company_id=ANYBODY)
            other.commit()
        second = version(reader)
        writer.rollback()
        assert (before != second, version(reader) == second) == (True, True)


def test_answers_are_packed_for_who_can_unpack_them(served: Served) -> None:
    headers = {**served.headers(), "Accept-Encoding": "gzip"}
    response = served.client.get("/analytics/revenue", params=DATES, headers=headers)
    assert response.headers["content-encoding"] == "gzip"
    plain = served.client.get("/analytics/revenue", params=DATES, headers={**headers, "Accept-Encoding": "identity"})
    assert (plain.headers.get("content-encoding"), plain.json()) == (None, response.json())


def test_partitions_say_what_is_closed_and_what_has_changed_since(served: Served) -> None:
    with served.database.connect(autocommit=True) as connection:
        connection.execute(
            "INSERT INTO analytics_partitions (asset, window_start, window_end, closed_at) "
            "VALUES ('analytics_revenue_daily', '2025-06-01', '2025-06-02', now()), "
            "('analytics_revenue_daily', '2025-06-02', '2025-06-03', NULL)"
        )
    found = get(served, "partitions", startDate="2025-06-01", endDate="2025-06-30").json()["partitions"]
    assert [(each["state"], each["start"]) for each in found] == [
        # Nothing was ever refreshed: it has to be done again.
        ("stale", "2025-06-01T00:00:00Z"),
        ("open", "2025-06-02T00:00:00Z"),
    ]


def test_companies_stand_side_by_side(served: Served) -> None:
    found = get(served, "companies", "operator", **DATES).json(parse_float=Decimal)["companies"]
    assert [each["companyId"] for each in found] == [HEADLINE.company, ANYBODY, OTHER]
    revenue = get(served, "revenue", **DATES).json(parse_float=Decimal)
    assert all(value == revenue[name] for name, value in found[0].items() if name in revenue)


def test_a_company_is_shown_with_its_name_and_what_it_lives_in_and_a_tenant_sees_its_own_alone(served: Served) -> None:
    def shown(whose: str) -> dict[str, tuple[str, str, str, str]]:
        rows = get(served, "companies", whose, **DATES).json()["companies"]
        names = ("companyName", "timeZone", "reportingCurrency", "locale")
        return {row["companyId"]: tuple(row[name] for name in names) for row in rows}

    with served.database.connect(autocommit=True) as connection:
        connection.execute(
            "INSERT INTO analytics_companies (company_id, name, locale) VALUES "
            "(%s, 'Acme <b>', 'de_DE'), (%s, 'Zeta Secret', NULL), ('quiet', 'Quiet', NULL)",
            [HEADLINE.company, OTHER],
        )
        try:
            acme = ("Acme <b>", "UTC", "EUR", "de_DE")
            assert shown("operator") == {
                HEADLINE.company: acme,
                OTHER: ("Zeta Secret", "UTC", "EUR", "en_GB"),
                "anybody": ("anybody", "UTC", "EUR", "en_GB"),
                "quiet": ("Quiet", "UTC", "EUR", "en_GB"),
            }
            assert shown(HEADLINE.company) == {HEADLINE.company: acme}
        finally:
            connection.execute("DELETE FROM analytics_companies")


@pytest.mark.slow
def test_days_are_those_of_the_company_or_of_the_time_zone_asked_for(served: Served) -> None:
    may = {"startDate": "2026-05-01", "endDate": "2026-05-31"}
    with served.database.connect(autocommit=True) as connection:
        connection.execute("INSERT INTO analytics_fx_rates VALUES ('2026-04-30', 'EUR', 'USD', 2, 'x')")
        # 1 May in Auckland.
        add_event(connection, "2026-04-30T12:30", company_id=ANYBODY, value="40")
    of_utc = get(served, "revenue", ANYBODY, **may)
    auckland = get(served, "revenue", ANYBODY, **may, timeZone="pacific/auckland").json()
    assert (of_utc.json()["timeZone"], auckland["timeZone"]) == ("UTC", "Pacific/Auckland")
    assert auckland["totalRevenue"] - of_utc.json()["totalRevenue"] == 40
    with served.database.connect(autocommit=True) as connection:
        connection.execute(
            "INSERT INTO analytics_companies (company_id, time_zone, currency) VALUES (%s, 'Pacific/Auckland', 'USD')",
            [ANYBODY],
        )
    served.client.app.state.versions._until -= MAX_AGE_SECONDS  # type: ignore[attr-defined]  # a second goes by
    headers = {**served.headers(ANYBODY), "If-None-Match": of_utc.headers["etag"]}
    own = served.client.get("/analytics/revenue", params=may, headers=headers)
    assert own.status_code == 200
    assert (own.json()["timeZone"], own.json()["currency"]) == ("Pacific/Auckland", "USD")
    assert get(served, "revenue", ANYBODY, **may, currency="EUR").json()["totalRevenue"] == auckland["totalRevenue"]
    day = get(served, "users/series", ANYBODY, startDate="2026-05-01", endDate="2026-05-01").json()["series"]
    assert [(entry["startsAt"], entry["activeUsers"]) for entry in day] == [("2026-04-30T12:00:00Z", 1)]
    refused = get(served, "revenue", ANYBODY, **may, timeZone="Europe/Berln")
    assert (refused.status_code, "no time zone 'Europe/Berln'" in refused.json()["detail"]) == (422, True)
    # Partitions are of UTC.
    assert get(served, "partitions", **may, timeZone="UTC").status_code == 422
    with served.database.connect(autocommit=True) as connection:
        connection.execute("DELETE FROM analytics_companies")
        # It was asked to have its rows computed again.
        connection.execute("DELETE FROM analytics_metric_changes")
