"""The dashboard page in a browser: what a finance person sees, with mouse or keyboard, by day and by night."""

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pypdfium2  # type: ignore[import-untyped]
import pytest

from analytics_pipeline.api import token_cache
from analytics_pipeline.api.page import STATIC
from analytics_pipeline.api.scopes import Scope
from analytics_pipeline.api.tokens import revoke_token
from analytics_pipeline.events.model import Parsing, parse_event
from analytics_pipeline.events.record import record_events
from analytics_pipeline.metrics.tables import REVENUE_METRICS, close_metric
from analytics_pipeline.reports.monthly import publish_company_months
from analytics_pipeline.windows import Granularity, Window
from analytics_pipeline_tests.dashboard.browser import CHROMIUM, Page, open_browser
from analytics_pipeline_tests.dashboard.serving import Served
from analytics_pipeline_tests.events.sample_records import payment, subscription

AXE = Path(__file__).parent / "axe" / "axe.min.js"
MAX_BYTES = 300_000

in_a_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian's package chromium)")

LOADED = "document.querySelector('#figures')?.ariaBusy === 'false' && !document.querySelector('#dashboard').hidden"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with open_browser(tmp_path_factory.mktemp("chromium")) as page:
        yield page


@pytest.fixture(scope="module")
def company(served: Served) -> str:
    """A company with a subscription, payments of this month and of the one before, and that month's report."""
    name = "acme"
    now = datetime.now(UTC)
    before = _month_before(now.date())
    middle = f"{before:%Y-%m}-15T12:00:00Z"
    raws = [
        subscription("40", company_id=name, timestamp=middle) | {"timestamp": middle, "company_id": name},
        payment(company_id=name, timestamp=middle, value="1000.00"),
        payment(company_id=name, timestamp=now.isoformat(), value="1234.56"),
        payment(company_id=name, timestamp=now.isoformat(), value="-34.56", event_type="payment.refunded"),
        payment(
            company_id=name,
            timestamp=now.isoformat(),
            value=None,
            currency=None,
            event_type="user.login",
            category="user_activity",
        ),
    ]
    with served.database.connect(autocommit=True) as connection:
        record_events([parse_event(raw, now=now, parsing=Parsing()) for raw in raws], connection=connection)
        list(publish_company_months(connection, served.database.settings, before))
    return name


def _month_before(day: date) -> date:
    return (day.replace(day=1) - timedelta(days=1)).replace(day=1)


@pytest.fixture
def page(browser: Page, served: Served) -> Page:
    """The page as somebody opens it who has not signed in."""
    browser.resize(1280)
    browser.prefer(dark=False)
    browser.errors.clear()
    browser.requests.clear()
    browser.open(f"http://{served.host}/")
    browser.evaluate("sessionStorage.clear(); localStorage.clear()")
    browser.open(f"http://{served.host}/")
    return browser


def sign_in(page: Page, token: str) -> None:
    page.wait_for("document.activeElement.id === 'token'")
    page.write(token)
    page.press("Enter")
    page.wait_for(LOADED)


def card(page: Page, name: str) -> str:
    return page.text(f"#cards [data-name={json.dumps(name)}]")


def violations(page: Page) -> list[Any]:
    """Return what axe-core finds against WCAG 2.2 A and AA, and its best practices."""
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']}).then(r => r.violations)")
    return [(rule["id"], [node["html"][:200] for node in rule["nodes"]]) for rule in found]


def pick(page: Page, selector: str, value: str) -> None:
    page.choose(selector, value)
    page.wait_for(LOADED)


def test_the_page_is_small_and_its_library_is_the_one_whose_hash_it_names() -> None:
    served = [path for path in STATIC.rglob("*") if path.is_file()]
    assert sum(len(gzip.compress(path.read_bytes())) for path in served) < MAX_BYTES
    html = (STATIC / "index.html").read_text()
    (found,) = re.findall(r'src="page/(vendor/[^"]+)"\s+integrity="sha384-([^"]+)"', html)
    library, digest = found
    assert base64.b64encode(hashlib.sha384((STATIC / library).read_bytes()).digest()).decode() == digest
    assert "MIT License" in (STATIC / library).with_name("LICENSE").read_text()
    assert "v1.6.32" in (STATIC / library).read_text()[:200]


def test_the_page_loads_nothing_from_elsewhere_and_is_not_shown_in_frames(served: Served) -> None:
    for path in ("/", "/docs", "/page/app.js", "/page/docs.js", "/page/vendor/uplot/uPlot.iife.min.js"):
        answer = httpx.get(f"http://{served.host}{path}")
        assert answer.status_code == 200
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        again = httpx.get(f"http://{served.host}{path}", headers={"If-None-Match": answer.headers["etag"]})
        assert again.status_code == 304


@in_a_browser
@pytest.mark.slow
def test_somebody_signs_in_by_keyboard_and_sees_the_figures(served: Served, company: str, page: Page) -> None:
    token = served.new_token(company)
    assert "Access token" in page.text("#sign-in")
    assert violations(page) == []
    page.write("ap_guessed")
    page.press("Enter")
    page.wait_for("document.querySelector('#sign-in-reason').innerText.includes('not valid')")
    sign_in(page, token)
    assert card(page, "Total revenue").split("\n")[:2] == ["Total revenue", "€1,200.00"]
    assert "+20.0%" in card(page, "Total revenue")
    assert "€1,000.00 in" in card(page, "Total revenue")
    assert "€80.00" in card(page, "MRR")
    assert company in page.text("#title")
    assert "provisional" in page.text("#title")
    assert "Data through" in page.text("#scope")
    assert page.evaluate("document.querySelectorAll('.plot canvas').length") == 4
    assert "Payment received" in page.text("#events")
    # A picture has the same as a table.
    page.evaluate("document.querySelector('#bridge-chart details').open = true")
    assert "Start\t€80.00" in page.text("#bridge-chart table")
    assert violations(page) == []
    page.prefer(dark=True)
    page.wait_for("document.documentElement.dataset.theme === 'dark'")
    assert violations(page) == []
    assert all(address.startswith((f"http://{served.host}/", f"ws://{served.host}/")) for address in page.requests)
    assert not any(token in address for address in page.requests)
    assert page.evaluate("localStorage.length") == 0
    # The guessed token is the only thing that has gone wrong.
    assert all("401" in error for error in page.errors)


@in_a_browser
@pytest.mark.slow
def test_everything_is_reached_and_worked_by_keyboard(served: Served, company: str, page: Page) -> None:
    sign_in(page, served.new_token(company))
    reached = []
    for _ in range(40):
        page.press("Tab")
        reached.append(page.focused())
        if reached[-1] == "BODY":
            break
    for control in ("period", "compare", "currency", "pause", "SUMMARY", "BUTTON"):
        assert control in reached, reached
    page.evaluate("document.querySelector('.skip').focus()")
    page.press("Enter")
    page.wait_for("document.activeElement.id === 'main'")
    page.evaluate("document.querySelector('#theme').focus()")
    page.press("Enter")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.evaluate("document.querySelector('#sign-out').focus()")
    page.press("Enter")
    page.wait_for("document.activeElement.id === 'token'")
    assert page.evaluate("sessionStorage.getItem('analytics-token')") is None


@in_a_browser
@pytest.mark.slow
def test_new_events_change_the_page_by_themselves(served: Served, page: Page) -> None:
    served.pay("live", "100.00")
    sign_in(page, served.new_token("live"))
    page.wait_for("document.querySelector('#live').dataset.state === 'on'")
    assert "€100.00" in card(page, "Total revenue")
    page.wait_for("document.querySelector('#today').innerText.includes('€100.00')")
    served.pay("live", "11.11")
    page.wait_for("document.querySelector('[data-name=\"Total revenue\"]').innerText.includes('€111.11')")
    assert "1 payment received" in page.text("#changes")
    page.evaluate("document.querySelector('#pause').click()")
    served.pay("live", "1.00")
    served.pay("live", "1.00")
    page.wait_for("import('/page/client.js').then(c => c.ask('revenue')).then(r => r.totalRevenue === 113.11)")
    assert "€111.11" in card(page, "Total revenue")
    page.evaluate("document.querySelector('#pause').click()")
    page.wait_for("document.querySelector('[data-name=\"Total revenue\"]').innerText.includes('€113.11')")


@in_a_browser
@pytest.mark.slow
def test_operators_pick_company_period_comparison_and_currency(served: Served, company: str, page: Page) -> None:
    served.pay("globex", "5.00")
    sign_in(page, served.new_token(None))
    assert "All companies" in page.text("#title")
    assert company in page.text("#companies")
    page.evaluate(f"[...document.querySelectorAll('#companies button')].find(b => b.innerText === '{company}').click()")
    page.wait_for(f"document.querySelector('#title').innerText.includes('{company}') && ({LOADED})")
    assert page.evaluate("document.querySelector('#company').value") == company
    assert page.evaluate("document.querySelector('#companies').hidden")
    pick(page, "#period", "last-month")
    assert "€1,000.00" in card(page, "Total revenue")
    assert "provisional" not in page.text("#title")
    pick(page, "#compare", "none")
    assert card(page, "Total revenue") == "Total revenue\n€1,000.00"
    pick(page, "#period", "custom")
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    page.choose("#last-day", today)
    page.wait_for(LOADED)
    pick(page, "#first-day", today)
    assert "€1,200.00" in card(page, "Total revenue")
    # What is picked is in the address, and comes back with it.
    address = page.evaluate("location.href")
    assert f"first={today}" in address
    page.open("about:blank#")
    page.open(address)
    page.wait_for(LOADED)
    assert "€1,200.00" in card(page, "Total revenue")
    page.choose("#time-zone", "Asia/Tokyo")
    page.wait_for(f"document.querySelector('#scope').innerText.includes('(Asia/Tokyo)') && ({LOADED})")
    assert "zone=Asia%2FTokyo" in page.evaluate("location.href")
    assert "those of Asia/Tokyo" in page.text("#footer")
    page.choose("#currency", "xxq")
    page.wait_for("!document.querySelector('#problem').hidden")
    assert "XXQ" in page.text("#problem")


@in_a_browser
@pytest.mark.slow
def test_a_document_opens_by_an_address_of_its_own(served: Served, company: str, page: Page) -> None:
    sign_in(page, served.new_token(company))
    page.evaluate("document.querySelector('#documents button').click()")
    address = page.wait_for_tab(f"http://{served.host}/documents/")
    answer = httpx.get(address)
    assert answer.headers["content-type"] == "application/pdf"
    assert company in pypdfium2.PdfDocument(BytesIO(answer.content))[0].get_textpage().get_text_range()


@in_a_browser
@pytest.mark.slow
def test_a_month_is_signed_off_where_the_token_may_and_what_is_restated_is_shown(
    served: Served, company: str, page: Page
) -> None:
    sign_in(page, served.new_token(company))
    pick(page, "#period", "last-month")
    assert page.evaluate("document.querySelector('#signoffs').hidden")
    page.evaluate("document.querySelector('#sign-out').click()")
    sign_in(page, served.new_token(company, Scope.FIGURES, Scope.REPORTS, Scope.SIGN))
    assert not page.evaluate("document.querySelector('#signoffs').hidden")
    assert "is not signed off" in page.text("#signoffs")
    page.evaluate("document.querySelector('#signer').focus()")
    page.write("Ann Smith")
    page.press("Enter")
    page.wait_for("document.querySelector('#sign-answer').innerText.includes('not closed, or stale')")
    assert violations(page) == []
    with served.database.connect(autocommit=True) as connection:
        month = Window.of_month(_month_before(datetime.now(UTC).date()))
        connection.execute(
            "WITH signed AS (INSERT INTO analytics_signoffs (company_id, period, period_start, period_end, signed_by, "
            "figures_at, definitions_version, currency, document_id, document_sha256) "
            "SELECT company_id, period, %s, %s, 'Ann Smith', now(), 3, 'EUR', document_id, sha256 "
            "FROM analytics_report_documents WHERE company_id = %s RETURNING signoff_id) "
            "INSERT INTO analytics_signed_figures (signoff_id, metric, figure, unit, place, value) "
            "SELECT signoff_id, 'revenue_metrics', 'total_revenue', 'money', 0, 990 FROM signed",
            [month.start, month.end, company],
        )
        close_metric(connection, REVENUE_METRICS, Granularity.MONTH, month, "EUR")
    pick(page, "#compare", "none")
    assert "signed off by Ann Smith" in page.text("#signoffs")
    assert "Total revenue\t\u20ac990.00\t\u20ac1,000.00\t+\u2060\u20ac10.00" in page.text("#signoffs table")
    assert page.evaluate("document.querySelector('#sign-form').hidden")
    assert violations(page) == []
    page.resize(360)
    page.wait_for("document.documentElement.scrollWidth === 360")
    page.evaluate("document.querySelector('#signoffs button').click()")
    address = page.wait_for_tab(f"http://{served.host}/documents/")
    assert httpx.get(address).headers["content-type"] == "application/pdf"


@in_a_browser
@pytest.mark.slow
def test_the_page_says_that_a_company_has_no_events_that_the_server_is_away_and_that_the_token_has_ended(
    served: Served, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_cache, "MAX_AGE_SECONDS", 0.1)
    token_id, token = served.new_token_with_id("empty")
    sign_in(page, token)
    assert "empty" in page.text("#title")
    assert "no events" in page.text("#notices")
    assert "€0.00" in card(page, "Total revenue")
    page.resize(360)
    page.wait_for("document.documentElement.scrollWidth === 360")
    assert violations(page) == []
    page.call("Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=0, uploadThroughput=0)
    page.choose("#period", "last-month")
    page.wait_for("!document.querySelector('#problem').hidden")
    assert "can't be reached" in page.text("#problem")
    page.call("Network.emulateNetworkConditions", offline=False, latency=0, downloadThroughput=-1, uploadThroughput=-1)
    page.evaluate("document.querySelector('#problem button').click()")
    page.wait_for(f"document.querySelector('#problem').hidden && ({LOADED})")
    page.wait_for("document.querySelector('#live').dataset.state === 'on'")
    with served.database.connect(autocommit=True) as connection:
        revoke_token(connection, token_id)
    page.wait_for("!document.querySelector('#sign-in').hidden")
    assert "not valid any more" in page.text("#sign-in")
    assert page.evaluate("sessionStorage.getItem('analytics-token')") is None


@in_a_browser
@pytest.mark.slow
def test_the_page_fits_narrow_windows_and_paper(served: Served, company: str, page: Page) -> None:
    sign_in(page, served.new_token(None))
    page.resize(360)
    page.wait_for("document.documentElement.scrollWidth === 360")
    assert violations(page) == []
    document = pypdfium2.PdfDocument(BytesIO(page.pdf()))
    first = document[0].get_textpage().get_text_range()
    assert "Total revenue" in first
    assert "Sign out" not in first
    assert page.evaluate("document.documentElement.dataset.theme") == "light"


@in_a_browser
@pytest.mark.slow
def test_amounts_keep_their_digits_and_periods_are_compared_as_the_database_does(served: Served, page: Page) -> None:
    page.evaluate("import('/page/format.js').then(m => { window.format = m })")
    assert page.evaluate("format.money('12345678901234567890.12', 'EUR')") == "€12,345,678,901,234,567,890.12"
    assert page.evaluate("format.money('0.00012345', 'BTC')").endswith("0.00012345")
    assert page.evaluate("format.money('7.10', 'USDC.e')") == "7.10 USDC.e"
    page.evaluate("import('/page/periods.js').then(m => { window.periods = m })")
    spans = [
        (date(2025, 3, 1), date(2025, 3, 31)),
        (date(2025, 1, 1), date(2025, 3, 31)),
        (date(2024, 2, 1), date(2024, 2, 29)),
        (date(2025, 2, 1), date(2025, 2, 28)),
        (date(2024, 2, 10), date(2024, 2, 29)),
        (date(2025, 2, 3), date(2025, 2, 28)),
        (date(2025, 5, 7), date(2025, 5, 7)),
        (date(2023, 1, 1), date(2025, 12, 31)),
    ]
    with served.database.connect(autocommit=True) as connection:
        for first, last in spans:
            window = Window.of_dates(first, last)
            query = (
                "SELECT p, %(start)s, y.period_start, y.period_end FROM analytics_previous_start(%(start)s, %(end)s) "
                "AS p, analytics_year_before(%(start)s, %(end)s) AS y"
            )
            row = connection.execute(query, {"start": window.start, "end": window.end}).fetchone()
            assert row is not None
            for name, start, end in (("previous", *row[:2]), ("year", *row[2:])):
                expected = {"first": f"{start:%Y-%m-%d}", "last": f"{end - timedelta(days=1):%Y-%m-%d}"}
                asked = f"periods.comparison('{name}', {{first: '{first}', last: '{last}'}})"
                assert page.evaluate(asked) == expected, (name, first, last)


@in_a_browser
@pytest.mark.slow
def test_the_operations_of_the_api_are_listed_and_nothing_is_loaded_from_elsewhere(served: Served, page: Page) -> None:
    described = httpx.get(f"http://{served.host}/openapi.json").json()
    operations = {f"{name.upper()} {path}" for path, methods in described["paths"].items() for name in methods}
    page.requests.clear()
    page.open(f"http://{served.host}/docs#record_events_analytics_events_post")
    page.wait_for("document.querySelector('#operations').ariaBusy === 'false'")
    titles = page.evaluate("[...document.querySelectorAll('#operations h2')].map(title => title.innerText)")
    assert {" ".join(title.split()) for title in titles} == operations
    shown = page.text("#record_events_analytics_events_post")
    for word in ("Idempotency-Key", "application/x-ndjson", "payment.received", "415", "Needs a token."):
        assert word.lower() in shown.lower(), word
    assert page.evaluate("scrollY") > 0
    assert violations(page) == []
    page.resize(360)
    page.wait_for("document.documentElement.scrollWidth === 360")
    page.prefer(dark=True)
    page.open(f"http://{served.host}/docs")
    page.wait_for("document.documentElement.dataset.theme === 'dark'")
    assert violations(page) == []
    assert all(address.startswith((f"http://{served.host}/", "about:")) for address in page.requests)
    assert page.errors == []
