"""The demo's rates: the sample's own, and no others later."""

from pathlib import Path

import pytest
from dotenv import dotenv_values

from analytics_pipeline import demo
from analytics_pipeline.database import connect, migrate
from analytics_pipeline.embedded import EmbeddedTimescale
from analytics_pipeline.settings import Settings, get_settings
from analytics_pipeline_tests.conftest import Database

pytestmark = pytest.mark.slow

SIZE = demo.SampleSize(months=2, companies=1, scale=0.02, seed=7)


def _newest(settings: Settings) -> str:
    with connect(settings) as connection:
        row = connection.execute("SELECT max(rate_date)::text FROM analytics_fx_rates").fetchone()
    assert row is not None
    return str(row[0])


def test_the_embedded_database_keeps_to_the_samples_rates(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    home = tmp_path / "home"
    environment.setenv("ANALYTICS_HOME", str(home))
    environment.delenv("ANALYTICS_DATABASE_URL")
    get_settings.cache_clear()
    try:
        migrate()
        events, rates = demo._sample(get_settings(), SIZE)
        assert (events.parent, rates.name) == (rates.parent, events.name.replace(".jsonl.gz", ".rates.csv"))
        loaded = demo._load_rates(get_settings(), str(rates))
        assert loaded.new == loaded.read > 3 * 58
        assert _newest(get_settings()) == str(loaded.last)
        # Later processes, the scheduled asset's among them, read the same file.
        assert get_settings().fx_source == str(rates)
        assert dotenv_values(home / "settings.env") == {"ANALYTICS_FX_SOURCE": str(rates)}
        assert demo._load_rates(get_settings(), str(rates)).unchanged == loaded.read
        environment.setenv("ANALYTICS_FX_SOURCE", "ecb")
        get_settings.cache_clear()
        demo._load_rates(get_settings(), str(rates))
        assert get_settings().fx_source == "ecb", "what somebody has set stays"
    finally:
        EmbeddedTimescale(home).stop()


def test_a_server_of_its_own_keeps_its_source(database: Database, tmp_path: Path) -> None:
    settings = database.settings.model_copy(update={"home": tmp_path})
    _, rates = demo._sample(settings, SIZE)
    assert demo._load_rates(settings, str(rates)).new > 0
    assert not (tmp_path / "settings.env").exists()
