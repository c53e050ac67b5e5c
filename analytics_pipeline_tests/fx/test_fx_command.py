"""``fx load`` and ``fx show``: what they print, where they keep rejects, how they end."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from analytics_pipeline.cli import main
from analytics_pipeline.settings import get_settings
from analytics_pipeline_tests.conftest import Database

RATES = """rate_date,base,quote,rate
2025-01-30,EUR,USD,1.0396
2025-01-31,EUR,USD,1.03930
2025-01-24,BTC,EUR,100000.5
"""


@pytest.fixture
def rates(tmp_path: Path) -> Path:
    path = tmp_path / "rates.csv"
    path.write_text(RATES)
    return path


def _fx(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["fx", *arguments])


def test_load_prints_what_it_did_and_repeating_it_is_harmless(database: Database, rates: Path) -> None:
    first, again = (_fx("load", str(rates)) for _ in range(2))
    assert first.exit_code == again.exit_code == 0, first.output
    assert "read 3 new 3 changed 0 unchanged 0 rejected 0" in " ".join(first.stdout.split())
    assert "2025-01-24 to 2025-01-31" in first.stdout
    assert "new 0 changed 0 unchanged 3" in " ".join(again.stdout.split())


def test_rejects_are_kept_and_reported_by_the_exit_status(database: Database, rates: Path, tmp_path: Path) -> None:
    rates.write_text(RATES + "2025-01-31,EUR,EUR,1\n")
    kept = tmp_path / "kept.jsonl"
    result = _fx("load", str(rates), "--rejects", str(kept), "--json")
    assert result.exit_code == 3
    assert json.loads(result.stdout) == {
        "read": 4,
        "new": 3,
        "changed": 0,
        "unchanged": 0,
        "rejected": 1,
        "reasons": {"base and quote are one": 1},
        "rejects": str(kept),
        "first": "2025-01-24",
        "last": "2025-01-31",
    }
    reject = json.loads(kept.read_text())
    assert (reject["source"], reject["line"], reject["record"]) == (str(rates), 5, "2025-01-31,EUR,EUR,1")
    by_default = _fx("load", str(rates))
    assert by_default.exit_code == 3
    assert "1  base and quote are one" in by_default.stdout
    (file,) = (database.settings.home / "rejects").glob("*-fx.jsonl")
    assert str(file) in by_default.stdout
    file.unlink()


def test_one_unreadable_file_loads_nothing(database: Database, rates: Path, tmp_path: Path) -> None:
    result = _fx("load", str(rates), str(tmp_path / "none.csv"))
    assert result.exit_code == 1
    assert "none.csv: No such file" in result.output
    assert json.loads(_fx("show", "--date", "2025-01-31", "--json").stdout) == []


def test_without_a_file_the_configured_source_is_loaded(
    database: Database, environment: pytest.MonkeyPatch, rates: Path
) -> None:
    assert get_settings().fx_source == "ecb"
    environment.setenv("ANALYTICS_FX_SOURCE", str(rates))
    get_settings.cache_clear()
    assert json.loads(_fx("load", "--json").stdout)["new"] == 3


@pytest.mark.slow
def test_the_shipped_history_loads_everywhere(database: Database) -> None:
    figures = json.loads(_fx("load", "--ecb", "--json").stdout)
    assert figures["first"] == "1999-01-04"
    assert figures["read"] == figures["new"] > 200_000
    (dollars,) = json.loads(_fx("show", "--date", "2025-02-02", "--currency", "usd", "--json").stdout)
    expected = {"date": "2025-01-31", "base": "EUR", "quote": "USD", "rate": "1.0393", "ageDays": 2, "source": "ecb"}
    assert dollars == expected
    assert "not both" in _fx("load", "--ecb", "rates.csv").output


def test_show_lists_the_last_rate_of_every_pair_that_is_not_too_old(database: Database, rates: Path) -> None:
    _fx("load", str(rates))
    shown = json.loads(_fx("show", "--date", "2025-01-31", "--json").stdout)
    assert [(r["base"], r["quote"], r["rate"], r["ageDays"]) for r in shown] == [
        ("BTC", "EUR", "100000.5", 7),
        ("EUR", "USD", "1.03930", 0),
    ]
    assert [r["base"] for r in json.loads(_fx("show", "--date", "2025-02-01", "--json").stdout)] == ["EUR"]
    assert [r["date"] for r in json.loads(_fx("show", "--date", "2025-01-30", "--json").stdout)] == [
        "2025-01-24",
        "2025-01-30",
    ]
    assert "1.03930" in _fx("show", "--date", "2025-01-31").stdout
    assert "No rate of CHF serves 2025-01-31" in _fx("show", "--date", "2025-01-31", "--currency", "CHF").stdout
    assert "No rate serves" in _fx("show").stdout
    (kuna,) = json.loads(_fx("show", "--date", "2025-01-31", "--currency", "HRK", "--json").stdout)
    assert (kuna["rate"], kuna["source"]) == ("7.53450", "irrevocable since 2023-01-01")


def test_payments_in_currencies_that_have_joined_the_euro_need_no_rates_of_ours(database: Database) -> None:
    runner = CliRunner()
    assert runner.invoke(main, ["ingest", str(Path(__file__).parent / "data" / "euro_joined.jsonl")]).exit_code == 0
    january = ("--start", "2026-01-01", "--end", "2026-01-31", "--json")
    answer = json.loads(runner.invoke(main, ["metrics", "revenue", *january]).stdout)
    assert (answer["totalRevenue"], answer["unconverted"]) == ("110.00", [])
