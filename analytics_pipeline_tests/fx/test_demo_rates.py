"""The demo's rates: the sample's own, and no others later."""

from datetime import date, timedelta
from pathlib import Path

import pytest
from dotenv import dotenv_values

from analytics_pipeline import demo
from analytics_pipeline.database import migrate
from analytics_pipeline.embedded import EmbeddedTimescale
from analytics_pipeline.fx.csv_rates import read_source
from analytics_pipeline.settings import get_settings
from analytics_pipeline_tests.conftest import Database

pytestmark = pytest.mark.slow

SIZE = demo.SampleSize(months=2, companies=1, scale=0.02, seed=7)


def test_the_embedded_database_keeps_to_the_samples_rates(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    home = tmp_path / "home"
    environment.setenv("ANALYTICS_HOME", str(home))
    environment.delenv("ANALYTICS_DATABASE_URL")
    get_settings.cache_clear()
    try:
        migrate()
        events, rates = demo._sample(get_settings(), SIZE)
        assert (events.parent, rates.name) == (rates.parent, events.name.replace(".jsonl.gz", ".rates.csv"))
        # Later processes, the scheduled asset's among them, read the same file.
        assert demo._use_rates(get_settings(), str(rates)).fx_source == str(rates)
        assert get_settings().fx_source == str(rates)
        assert dotenv_values(home / "settings.env") == {"ANALYTICS_FX_SOURCE": str(rates)}
        # What somebody has set stays, but for this run.
        (home / "settings.env").unlink()
        environment.setenv("ANALYTICS_FX_SOURCE", "ecb")
        get_settings.cache_clear()
        assert demo._use_rates(get_settings(), str(rates)).fx_source == str(rates)
        assert not (home / "settings.env").exists()
    finally:
        EmbeddedTimescale(home).stop()


def test_a_server_of_its_own_keeps_its_source(
    database: Database, tmp_path: Path, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("ANALYTICS_FX_SOURCE", "ecb")
    settings = database.settings.model_copy(update={"home": tmp_path, "fx_source": "ecb"})
    _, rates = demo._sample(settings, SIZE)
    assert demo._use_rates(settings, str(rates)).fx_source == str(rates), "in this run"
    assert not (tmp_path / "settings.env").exists()


def test_the_samples_rates_reach_the_day_of_each_demo(tmp_path: Path) -> None:
    day = date(2026, 2, 3)
    for later in (day, day + timedelta(days=5)):
        _, rates = demo._write_sample(tmp_path, later, SIZE)
        reading = read_source(str(rates), today=later)
        assert (min(rate.rate_date for rate in reading.rates), max(rate.rate_date for rate in reading.rates)) == (
            date(2025, 12, 1),
            later,
        )
        assert reading.rejects == []
