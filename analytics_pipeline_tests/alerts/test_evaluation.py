"""A rule fires exactly where its condition is met, and knows missing figures from zero."""

from datetime import datetime
from decimal import Decimal

import pytest

from analytics_pipeline.alerts.closed_figures import ClosedPeriod, Figures, certain
from analytics_pipeline.alerts.evaluation import RuleEvaluation, evaluate_periods
from analytics_pipeline.alerts.rule_metrics import METRICS
from analytics_pipeline.alerts.rules import Rule
from analytics_pipeline.windows import Granularity, Window
from analytics_pipeline_tests.alerts.figures_factory import start_of
from analytics_pipeline_tests.alerts.sample_rules import rule

MARCH = Window(start_of("2026-03"), start_of("2026-04"))


def _figures(
    values: dict[str, str | None], *, metric: str = "total_revenue", since: str = "2025-12", currency: str = "EUR"
) -> Figures:
    """Months of one company, acme, that are closed; None: a closed month in which its figure has no value."""
    rows: dict[tuple[str | None, datetime], dict[str, object]] = {
        ("acme", start_of(month)): {metric: None if value is None else Decimal(value), "incomplete": []}
        for month, value in values.items()
        if value != "no row"
    }
    closed = {start_of(month): _closed(currency) for month in values}
    return Figures(Granularity.MONTH, closed, {"acme": start_of(since)}, rows)


def _closed(currency: str) -> ClosedPeriod:
    return ClosedPeriod(currency, definitions_version=2, is_restated=False)


def _march(judged: Rule, figures: Figures) -> RuleEvaluation:
    (judgement,) = evaluate_periods(judged, figures, [MARCH])
    return judgement


@pytest.mark.parametrize(
    ("comparison", "below", "equal", "above"),
    [
        ("below", True, False, False),
        ("at most", True, True, False),
        ("at least", False, True, True),
        ("above", False, False, True),
    ],
)
def test_only_at_least_and_at_most_hold_on_the_threshold_itself(
    comparison: str,
    below: bool,  # noqa: FBT001
    equal: bool,  # noqa: FBT001
    above: bool,  # noqa: FBT001
) -> None:
    values = ["99.999999999999999999", "100.00", "100.000000000000000001"]
    fires = [_march(rule(comparison=comparison), _figures({"2026-03": value})).fires for value in values]
    assert fires == [below, equal, above]


def test_the_residue_of_a_division_does_not_tell_equal_figures_apart() -> None:
    three_thirds = "99.9999999999999999999999999999999999999999"
    assert certain(Decimal(three_thirds)) == 100
    assert not _march(rule(), _figures({"2026-03": three_thirds})).fires
    assert _march(rule(comparison="at least"), _figures({"2026-03": three_thirds})).fires


@pytest.mark.parametrize(
    ("change", "before", "now", "fires"),
    [
        ("-20 %", "100", "80", False),
        ("-20 %", "100", "79.99", True),
        ("-20 %", "100", "0", True),
        ("-20 EUR", "100", "80", False),
        ("-20 EUR", "100", "79.99", True),
        ("-20 EUR", "-100", "-121", True),
        ("-20 EUR", "0", "-21", True),
    ],
)
def test_a_change_is_against_the_period_before(change: str, before: str, now: str, fires: bool) -> None:  # noqa: FBT001
    judgement = _march(rule(change=change), _figures({"2026-02": before, "2026-03": now}))
    assert (judgement.fires, judgement.has_no_data) == (fires, False)


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        ("0", "which is not above zero"),
        ("-100", "which is not above zero"),
        (None, "the month before: it has no base to be a part of"),
    ],
)
def test_a_rate_of_change_without_a_base_is_no_data(before: str | None, reason: str) -> None:
    judgement = _march(rule(change="-20 %"), _figures({"2026-02": before, "2026-03": "1"}))
    assert (judgement.fires, judgement.has_no_data) == (False, True)
    assert reason in judgement.latest.missing
    assert judgement.shown == "no data"


def test_a_change_needs_the_period_before_to_be_closed_and_in_the_same_currency() -> None:
    assert _march(rule(change="-20 %"), _figures({"2026-03": "1"})).latest.missing == (
        "the month before: the month is not closed"
    )
    figures = _figures({"2026-02": "100", "2026-03": "1"})
    in_francs = Figures(
        figures.granularity, {**figures.closed, start_of("2026-02"): _closed("CHF")}, figures.since, figures.rows
    )
    assert _march(rule(change="-20 %"), in_francs).latest.missing == "the month before is in CHF"


def test_figures_in_another_currency_than_the_rule_are_no_data() -> None:
    judgement = _march(rule(), _figures({"2026-03": "1"}, currency="CHF"))
    assert (judgement.fires, judgement.latest.missing) == (False, "it is in CHF, the rule in EUR")


@pytest.mark.parametrize(
    ("months", "fires", "has_no_data"),
    [
        (["200", "50", "50"], True, False),
        (["50", "50", "200"], True, False),
        (["50", "200", "200"], False, False),
        (["50", "50", None], True, True),
        (["50", None, None], False, True),
        (["no row", "no row", "200"], True, False),
    ],
)
def test_n_of_the_last_m_periods_have_to_cross_the_threshold(
    months: list[str | None],
    fires: bool,  # noqa: FBT001
    has_no_data: bool,  # noqa: FBT001
) -> None:
    values = dict(zip(["2026-01", "2026-02", "2026-03"], months, strict=True))
    judgement = _march(rule(periods="2 of 3"), _figures({"2025-12": "1", **values}))
    assert (judgement.fires, judgement.has_no_data) == (fires, has_no_data)


def test_zero_is_a_figure_and_no_figure_is_not_zero() -> None:
    below = rule(company="acme")
    assert _march(below, _figures({"2026-03": "0"})).fires
    # Closed without a row: nothing happened at a company that has had figures before.
    quiet = _march(below, _figures({"2026-03": "no row"}))
    assert (quiet.fires, quiet.shown) == (True, "0.00 EUR")
    # Not closed, or from before the company's first figures: nobody knows.
    assert _march(below, _figures({})).latest.missing == "the month is not closed"
    unknown = _march(below, _figures({"2026-03": "no row"}, since="2026-04"))
    assert (unknown.fires, unknown.latest.missing) == (False, "there have been no figures up to then")
    # A rate without a base is no rate, with a row or without.
    for value in (None, "no row"):
        rate = _march(rule(metric="churn_rate", value="5 %"), _figures({"2026-03": value}, metric="churn_rate"))
        assert (rate.fires, rate.latest.missing) == (False, "it has no base to be a part of")


def test_amounts_that_lack_a_rate_make_no_figure() -> None:
    figures = _figures({"2026-03": "1"})
    key: tuple[str | None, datetime] = ("acme", MARCH.start)
    rows = {key: {**figures.rows[key], "mrr": Decimal(1), "incomplete": ["mrr"]}}
    incomplete = Figures(figures.granularity, figures.closed, figures.since, rows)
    assert _march(rule(), incomplete).fires
    assert (
        _march(rule(metric="mrr"), incomplete).latest.missing
        == "amounts without a rate of exchange are missing from it"
    )


def test_each_company_is_every_one_that_has_had_figures_by_then() -> None:
    figures = Figures(
        Granularity.MONTH,
        {MARCH.start: _closed("EUR")},
        {"acme": start_of("2026-01"), "late": start_of("2026-04"), "new": MARCH.start},
        {},
    )
    assert [j.company for j in evaluate_periods(rule(), figures, [MARCH])] == ["acme", "new"]
    assert [j.company for j in evaluate_periods(rule(company="late"), figures, [MARCH])] == ["late"]
    assert [j.company for j in evaluate_periods(rule(company=None), figures, [MARCH])] == [None]


@pytest.mark.parametrize(
    ("changes", "before", "now", "text"),
    [
        ({"value": "1 EUR"}, "1", "1234.5", "1,234.50 EUR"),
        ({"change": "-20 %"}, "1000", "1234.5", "+23.4 % to 1,234.50 EUR"),
        ({"change": "-20 EUR"}, "1000", "900", "-100.00 EUR to 900.00 EUR"),
        ({"change": "20 EUR"}, "900", "1000", "+100.00 EUR to 1,000.00 EUR"),
        ({"metric": "active_users", "value": 5}, "1", "1234", "1,234"),
        ({"metric": "active_users", "change": 5}, "4", "1", "-3 to 1"),
        ({"metric": "churn_rate", "value": "5 %"}, "1", "4.125", "4.1 %"),
        ({"metric": "churn_rate", "change": "5 points"}, "1", "4.125", "+3.1 points to 4.1 %"),
    ],
)
def test_what_was_compared_is_shown_with_its_unit(changes: dict[str, object], before: str, now: str, text: str) -> None:
    judged = rule(**changes)
    figures = _figures({"2026-02": before, "2026-03": now}, metric=judged.metric.name)
    assert _march(judged, figures).shown == text


def test_a_count_that_is_not_known_of_a_period_is_missing_and_not_zero() -> None:
    """As users_at_start of rows that follow version 1 of the definitions."""
    figures = _figures({"2026-03": None}, metric="users_at_start")
    figure = figures.of(METRICS["users_at_start"], "acme", MARCH.start)
    assert (figure.value, figure.missing) == (None, "it is not known of this period")
