"""Axes have few, round ticks that hold every value."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics_pipeline.reports.charts import bridge_scale, scale_of


@pytest.mark.parametrize(
    ("values", "ticks", "unit", "decimals"),
    [
        (["100", "400"], ["0", "100", "200", "300", "400"], 1, 0),
        (["12987.01", "15000"], ["0", "5000", "10000", "15000"], 1_000, 0),
        (["400", "-150", "300"], ["-200", "0", "200", "400"], 1, 0),
        (["0.00731"], ["0", "0.002", "0.004", "0.006", "0.008"], 1, 3),
        (["25000000"], ["0", "10000000", "20000000", "30000000"], 1_000_000, 0),
        (["9"], ["0", "2.5", "5.0", "7.5", "10.0"], 1, 1),
        ([], ["0"], 1, 0),
        (["0", "0"], ["0"], 1, 0),
        (["-5"], ["-6", "-4", "-2", "0"], 1, 0),
    ],
)
def test_scales(values: list[str], ticks: list[str], unit: int, decimals: int) -> None:
    scale = scale_of([Decimal(value) for value in values])

    assert list(scale.ticks) == [Decimal(tick) for tick in ticks]
    assert (scale.unit, scale.decimals) == (unit, decimals)


@given(st.lists(st.decimals(-(10**30), 10**30, allow_nan=False, places=8), min_size=1, max_size=13))
def test_every_value_lies_on_the_axis(values: list[Decimal]) -> None:
    scale = scale_of(values)

    assert all(scale.ticks[0] <= value <= scale.ticks[-1] for value in values)
    assert 0 in scale.ticks
    assert len(scale.ticks) <= 7


def test_a_bridge_of_small_steps_leaves_out_what_is_far_below_them() -> None:
    scale = bridge_scale([Decimal(value) for value in (170_000, 188_000, 190_000, 182_000)])

    assert 100_000 < scale.ticks[0] < 170_000
    assert scale.ticks[-1] >= 190_000


@pytest.mark.parametrize("levels", [["0", "100"], ["100", "20", "120"], ["-50", "10"], ["0", "0"], ["100", "100"]])
def test_any_other_bridge_stands_on_zero(levels: list[str]) -> None:
    assert 0 in bridge_scale([Decimal(level) for level in levels]).ticks


@given(st.lists(st.decimals(-(10**12), 10**12, allow_nan=False, places=2), min_size=1, max_size=8))
def test_every_level_of_a_bridge_lies_on_its_axis(levels: list[Decimal]) -> None:
    scale = bridge_scale(levels)

    assert all(scale.ticks[0] <= level <= scale.ticks[-1] for level in levels)
