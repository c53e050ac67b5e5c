"""The sample as a stream of lines: same seed, same bytes; number, order, span, memory."""

import gzip
import hashlib
import os
import subprocess
import sys
import tracemalloc
from collections import deque
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.sample import SampleEvent, generate_events, write_sample
from analytics_pipeline.sample.market import Market
from analytics_pipeline_tests.sample.conftest import END, START, Sample

pytestmark = pytest.mark.slow

WRITE_IN_PROCESS_OF_ITS_OWN = """
import sys
from datetime import date
from pathlib import Path
from analytics_pipeline.sample import write_sample
write_sample(Path(sys.argv[1]), seed=11, start=date(2025, 1, 1), months=4, companies=6, scale=0.1)
"""


def generate(
    *, seed: int = 7, start: date = START, months: int = 2, companies: int = 2, scale: float = 0.1
) -> list[SampleEvent]:
    return list(generate_events(seed=seed, start=start, months=months, companies=companies, scale=scale))


@pytest.mark.parametrize("name", ["events.jsonl", "events.jsonl.gz"])
def test_same_seed_gives_the_same_bytes_in_every_process(tmp_path: Path, name: str) -> None:
    digests = set()
    for hash_seed in ("1", "2"):
        path = tmp_path / hash_seed / name
        path.parent.mkdir()
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        command = [sys.executable, "-c", WRITE_IN_PROCESS_OF_ITS_OWN, str(path)]
        subprocess.run(command, env=environment, check=True)
        digests.add(hashlib.sha256(path.read_bytes()).hexdigest())
    assert len(digests) == 1


def test_other_seeds_give_other_events() -> None:
    one, other = ({event["event_id"] for event in generate(seed=seed)} for seed in (1, 2))
    assert one.isdisjoint(other)


def test_compressed_file_holds_the_same_lines(tmp_path: Path) -> None:
    plain, compressed = tmp_path / "events.jsonl", tmp_path / "events.jsonl.gz"
    counts = {write_sample(path, seed=3, start=START, months=1, companies=1, scale=0.2) for path in (plain, compressed)}
    text = plain.read_bytes()
    assert gzip.decompress(compressed.read_bytes()) == text
    assert counts == {text.count(b"\n")}


def test_default_size_is_about_250_000_lines() -> None:
    events = generate_events(seed=7, start=date(2025, 10, 1), months=13, companies=5, scale=1.0)
    assert 245_000 <= sum(1 for _ in events) <= 260_000


def test_scale_multiplies_the_number_of_events() -> None:
    half, whole = (len(generate(months=6, companies=3, scale=scale)) for scale in (0.5, 1.0))
    assert 1.8 < whole / half < 2.2


def test_companies_repeat_with_numbers_and_do_not_disturb_each_other() -> None:
    alone = generate(companies=1)
    together = generate(companies=7)
    companies = {event["company_id"] for event in together}
    assert len(companies) == 7
    assert "acme-trading-2" in companies
    assert [event for event in together if event["company_id"] == "acme-trading"] == alone


def test_events_stay_in_the_span_and_fill_it(sample: Sample) -> None:
    assert sample.events[0].timestamp.date() == START
    assert sample.events[-1].timestamp < END
    assert sample.events[-1].timestamp.date() == date(2026, 4, 30)


def test_a_few_events_arrive_late_and_some_in_the_next_month(sample: Sample) -> None:
    latest = ""
    late = in_next_month = 0
    for event in sample.raw:
        timestamp = event["timestamp"]
        if timestamp < latest:
            late += 1
            in_next_month += timestamp[:7] < latest[:7]
        latest = max(latest, timestamp)
    # Duplicates arrive late too.
    assert 0.005 < late / len(sample.raw) < 0.012
    assert 0 < in_next_month < late / 4
    said = {
        e["event_id"]: (e["timestamp"], e["metadata"]["arrived_at"])
        for e in sample.raw
        if "arrived_at" in e["metadata"]
    }
    assert 0.003 < len(said) / len(sample.events) < 0.007
    assert all(timestamp < arrived_at for timestamp, arrived_at in said.values())


def test_a_few_lines_arrive_twice_byte_for_byte(sample: Sample) -> None:
    repeated = len(sample.lines) - len(set(sample.lines))
    assert repeated == len(sample.lines) - len(sample.events)
    assert 0.002 < repeated / len(sample.lines) < 0.004


def test_first_events_of_fifty_years_come_before_most_of_their_days_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    days: list[None] = []
    next_day = Market.next_day

    def counting(market: Market) -> None:
        days.append(None)
        next_day(market)

    monkeypatch.setattr(Market, "next_day", counting)
    events = generate_events(seed=7, start=date(2000, 1, 1), months=600, companies=5, scale=1.0)
    assert len(list(islice(events, 10))) == 10
    assert len(days) < 10


def test_memory_holds_customers_and_pending_events_only() -> None:
    tracemalloc.start()
    try:
        events = generate_events(seed=7, start=START, months=12, companies=1, scale=0.3)
        deque(events, maxlen=0)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4_000_000


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"start": date(2025, 1, 2)}, "first day of a month"),
        ({"start": date(1969, 12, 1)}, "1970 or later"),
        ({"months": 0}, "months must be at least 1"),
        ({"months": 100_000}, "after the last year"),
        ({"companies": 0}, "companies must be at least 1"),
        ({"scale": 0.0}, "scale must be"),
        ({"scale": float("nan")}, "scale must be"),
        ({"scale": float("inf")}, "scale must be"),
    ],
)
def test_bad_parameters_are_refused_before_the_first_event(parameters: dict[str, Any], message: str) -> None:
    good: dict[str, Any] = {"seed": 1, "start": START, "months": 1, "companies": 1, "scale": 1.0}
    with pytest.raises(AnalyticsError, match=message):
        generate_events(**{**good, **parameters})


def test_unwritable_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "no-such-folder" / "events.jsonl"
    with pytest.raises(AnalyticsError, match="no-such-folder"):
        write_sample(path, seed=1, start=START, months=1, companies=1, scale=0.1)
