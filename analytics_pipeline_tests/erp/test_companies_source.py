"""A source of companies: what the ERP says of them last counts, but for what a person has set."""

from pathlib import Path

import pytest

from analytics_pipeline.companies.company_store import store_companies
from analytics_pipeline.companies.company_values import CompanyParser
from analytics_pipeline.erp.check import check_source
from analytics_pipeline.erp.reader import connect_erp
from analytics_pipeline.erp.source_files import read_sources
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.settings import Settings, get_settings
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.erp.example import ExampleErp
from analytics_pipeline_tests.erp.reading import query, read, rejected, source

pytestmark = pytest.mark.slow


def _companies() -> list[tuple[object, ...]]:
    return query("SELECT company_id, name, time_zone, currency, is_test FROM analytics_companies ORDER BY 1")


def test_what_an_erp_says_last_counts_and_what_a_person_has_set_stays(erp: ExampleErp, database: Database) -> None:
    erp.execute(
        "INSERT INTO erp.companies (id, name, time_zone, currency, is_test) VALUES "
        "('kiwi', 'Kiwi', 'pacific/auckland', 'nzd', true), ('lost', 'Lost', 'Atlantis/Capital', NULL, false)"
    )
    done = read("companies")
    assert (done.read, done.new, done.rejected) == (3, 2, 1)
    assert _companies() == [("acme", "Acme", None, None, False), ("kiwi", "Kiwi", "Pacific/Auckland", "NZD", True)]
    assert rejected() == [
        ("companies", "lost", "time_zone 'Atlantis/Capital' is not known: give a name such as Europe/Berlin.")
    ]
    with database.connect(autocommit=True) as connection, connection.transaction():
        by_hand = CompanyParser(connection).parse({"company_id": "kiwi", "name": "Kiwi Ltd", "is_test": "no"})
        store_companies(connection, [by_hand], by_hand=True)
    erp.execute(
        "UPDATE erp.companies SET name = 'Kiwifruit', currency = 'USD' WHERE id = 'kiwi'",
        "UPDATE erp.companies SET time_zone = 'Europe/Berlin' WHERE id = 'lost'",
    )
    assert (read("companies").new, read("companies").new) == (2, 0)
    assert _companies()[1:] == [
        ("kiwi", "Kiwi Ltd", "Pacific/Auckland", "USD", False),
        ("lost", "Lost", "Europe/Berlin", None, False),
    ]
    assert rejected() == []
    assert query("SELECT count(*) FROM analytics_events") == [(0,)]


def test_a_source_says_what_it_reads_and_is_checked_by_that(
    erp: ExampleErp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connect_erp(get_settings()) as database:
        assert check_source(database, source("companies")).problems == []
    monkeypatch.setenv("ANALYTICS_ERP_SOURCES", str(tmp_path))
    get_settings.cache_clear()
    head = "SELECT id AS source_key, updated_at AS cursor_at, id AS company_id, name AS title FROM erp.companies"
    (tmp_path / "tenants.sql").write_text(f"-- reads: companies\n{head}")
    with connect_erp(get_settings()) as database:
        assert check_source(database, source("tenants")).problems == ["no company has a column title"]
    (tmp_path / "tenants.sql").write_text(f"-- reads: tenants\n{head}")
    with pytest.raises(AnalyticsError, match="a source reads events or companies, not 'tenants'"):
        read_sources(Settings(erp_sources=str(tmp_path)))
