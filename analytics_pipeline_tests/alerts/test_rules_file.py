"""A file of rules is taken as a whole or refused with the rule, the key and the remedy."""

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from analytics_pipeline.alerts.rule_metrics import METRICS
from analytics_pipeline.alerts.rules import (
    EACH_COMPANY,
    KEYS,
    Comparison,
    Measure,
    NoData,
    RuleError,
    parse_rule,
)
from analytics_pipeline.alerts.rules_file import RulesFileError, read_rules
from analytics_pipeline.metrics.rates import Unit
from analytics_pipeline.metrics.tables import METRIC_TABLES
from analytics_pipeline.settings import Settings

ROOT = Path(__file__).parents[2]
SETTINGS = Settings(webhooks="ops=https://hooks.example.com/T0KEN chat=https://hooks.example.com/other")  # type: ignore[arg-type]

RIGHT = """
version = 1

[[rules]]
id = "low"
metric = "total_revenue"
granularity = "month"
company = "acme"
comparison = "below"
value = "100 EUR"
severity = "error"
recipients = ["ops@example.com"]
"""


def _refusal(tmp_path: Path, text: str) -> RulesFileError:
    path = tmp_path / "alerts.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RulesFileError) as refused:
        read_rules(path, SETTINGS)
    return refused.value


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        (
            'metric = "total_revenue"',
            'metric = "total_revenu"',
            r"metric: there is no figure 'total_revenu' \(did you mean total_revenue",
        ),
        (
            'metric = "total_revenue"',
            'metric = "profit"',
            r"metric: there is no figure 'profit': choose one of total_revenue, ",
        ),
        ('metric = "total_revenue"', "", r"metric: it is missing: give one of total_revenue, "),
        ('value = "100 EUR"', 'valeu = "100 EUR"', r"valeu: there is no such key \(did you mean value\?\)"),
        ('value = "100 EUR"', "", r"value: give either value, .*, or change"),
        ('value = "100 EUR"', 'value = "1 EUR"\nchange = "5 %"', r"value: give either value"),
        ('value = "100 EUR"', 'value = "100 usd"', r"value: '100 usd' doesn't fit .*reporting currency: .*'100 EUR'"),
        ('value = "100 EUR"', 'value = "5 %"', r"value: '5 %' doesn't fit total_revenue, which is money"),
        ('value = "100 EUR"', "value = 100", r"value: '100' doesn't fit total_revenue, .*write it like '100 EUR'"),
        ('value = "100 EUR"', 'value = "100,000 EUR"', r"value: '100,000 EUR' is no number with its unit"),
        ('value = "100 EUR"', "value = true", r"value: 'True' is no number"),
        ('value = "100 EUR"', "value = nan", r"value: 'NaN' is no number"),
        ('value = "100 EUR"', 'change = "5 points"', r"change: '5 points' doesn't fit .*'-100 EUR' or '-20 %'"),
        ('id = "low"', 'id = "Low Revenue"', r"id: 'Low Revenue' has to be small letters"),
        ('id = "low"', "id = 7", r"id: 7 is no text"),
        (
            'granularity = "month"',
            'granularity = "week"',
            r"granularity: there is no granularity 'week': .* day, month",
        ),
        (
            'comparison = "below"',
            'comparison = "<"',
            r"comparison: there is no comparison '<': .* above, below, at least",
        ),
        ('severity = "error"', 'severity = "high"', r"severity: there is no severity 'high': .* warning, error"),
        ('company = "acme"', 'company = ""', r"company: '' is no id of a company: .*'\*' for each"),
        ('company = "acme"', 'company = "a\\u202eb"', r"company: .* is no id of a company"),
        ('severity = "error"', 'severity = "error"\nperiods = "3 of 2"', r"periods: '3 of 2' can't be"),
        ('severity = "error"', 'severity = "error"\nperiods = "0 of 2"', r"periods: '0 of 2' can't be"),
        ('severity = "error"', 'severity = "error"\nperiods = "2/3"', r"periods: '2/3' has to look like '2 of 3'"),
        ('severity = "error"', 'severity = "error"\nno_data = "page"', r"no_data: there is no choice 'page': .* ok"),
        (
            'severity = "error"',
            'severity = "error"\nwebhook = "opps"',
            r"webhook: ANALYTICS_WEBHOOKS has no 'opps' .*ops",
        ),
        ('severity = "error"', 'severity = "error"\ntell_within = "a week"', r"tell_within: .*'45 days'.*'always'"),
        ('severity = "error"', 'severity = "error"\nlocale = "klingon"', r"locale: .* 'klingon' is not known"),
        ('severity = "error"', 'severity = "error"\nlocale = "ja_JP"', r"locale: .* 'ja_JP' writes in .*en_GB"),
        ('["ops@example.com"]', '["ops"]', r"recipients: 'ops' is not a mail address like name@example\.com"),
        ('["ops@example.com"]', '["slak:ops"]', r"recipients: 'slak' is no channel .*slack"),
        ('["ops@example.com"]', '["slack:ops"]', r"recipients: ANALYTICS_SLACK has no 'ops'"),
        ('["ops@example.com"]', '["webhook:opps"]', r"recipients: ANALYTICS_WEBHOOKS has no 'opps' .*ops"),
        ('["ops@example.com"]', '["a@example.com\\r\\nBcc: b@example.com"]', r"recipients: .* is not a mail address"),
        ('["ops@example.com"]', '"ops@example.com"', r"recipients: write a list of addresses"),
        ('["ops@example.com"]', "[]", r"recipients: nobody is notified: write addresses here"),
    ],
)
def test_a_wrong_rule_is_refused_with_its_key_and_the_remedy(
    tmp_path: Path, right: str, wrong: str, message: str
) -> None:
    assert right in RIGHT
    error = str(_refusal(tmp_path, RIGHT.replace(right, wrong)))
    assert re.search(rf"alerts\.toml: rule ('low'|'Low Revenue'|number 1), {message}", error), error
    assert "T0KEN" not in error


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("version = 1\n[[rules]", "is no TOML"),
        ("", "version: it has to be 1"),
        ("version = 2", "version: it has to be 1"),
        ("version = true", "version: it has to be 1"),
        ("version = 1\nrule = []", r"rule: there is no such key \(did you mean rules\?\)"),
        ("version = 1\nrules = 5", r"every rule begins with a line \[\[rules\]\]"),
        ("version = 1\nrules = [5]", r"rule number 1, rules: every rule begins"),
        ('version = 1\n[defaults]\nmetric = "mrr"', r"defaults\.metric: there is no such key"),
        ("version = 1\n\x00", "is no TOML"),
    ],
)
def test_a_file_that_is_none_of_rules_is_refused(tmp_path: Path, text: str, message: str) -> None:
    assert re.search(rf"alerts\.toml: .*{message}", str(_refusal(tmp_path, text)))


def test_a_file_that_cannot_be_read_is_refused_with_the_setting_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "gone.toml"
    with pytest.raises(RulesFileError, match=r"gone\.toml: it can't be read: .*ANALYTICS_ALERT_RULES names it\.$"):
        read_rules(path, SETTINGS.model_copy(update={"alert_rules": str(path)}))
    with pytest.raises(RulesFileError, match=r"gone\.toml: it can't be read: No such file or directory\.$"):
        read_rules(path, SETTINGS)


def test_a_key_cannot_make_another_line(tmp_path: Path) -> None:
    refused = _refusal(tmp_path, f'{RIGHT}"a\\nrule ok" = 1\n')
    assert refused.problems == [f"{tmp_path}/alerts.toml: rule 'low', a\\nrule ok: there is no such key."]


def test_everything_that_is_wrong_with_a_rule_is_reported(tmp_path: Path) -> None:
    wrong = RIGHT.replace("100 EUR", "100 usd").replace("ops@example.com", "ops").replace("below", "under")
    refused = _refusal(tmp_path, f'{wrong}periods = "5 of 3"\nvaleu = 1\nmetrics = "mrr"\n')
    assert [re.search(r"rule 'low', (\w+)", problem).group(1) for problem in refused.problems] == [  # type: ignore[union-attr]
        "valeu",
        "metrics",
        "comparison",
        "value",
        "periods",
        "recipients",
    ]


def test_every_wrong_rule_is_reported_and_an_id_is_given_once(tmp_path: Path) -> None:
    second = RIGHT.partition("[[rules]]")[2].replace('"total_revenue"', '"mrrr"').replace('"low"', '"other"')
    third = RIGHT.partition("[[rules]]")[2]
    refused = _refusal(tmp_path, f"{RIGHT}\n[[rules]]{second}\n[[rules]]{third}")
    assert [re.search(r"rule '(\w+)', (\w+)", problem).groups() for problem in refused.problems] == [  # type: ignore[union-attr]
        ("other", "metric"),
        ("low", "id"),
    ]
    assert "And 1 more: 'analytics-pipeline alerts check " in str(refused)


ODD: tuple[object, ...] = (
    None, True, 5, -1.5, Decimal("1e-30"), "", "5 of", "a\nb", "\u202e", "x" * 5000, [], [5], [None, "ops"], [["a"]],
    {}, {"value": 1}, date(2026, 1, 1), datetime(2026, 1, 1, tzinfo=UTC), b"x",
)  # fmt: skip
PYDANTICS = re.compile(r"pydantic|[Ii]nput |Value error|validation|Field required|instance of|<class|ValidationError")


@pytest.mark.parametrize("key", KEYS)
def test_whatever_a_key_holds_is_taken_or_refused_in_one_line_of_our_words(key: str) -> None:
    good = {"id": "r", "metric": "mrr", "granularity": "day", "comparison": "above", "severity": "error"}
    refused = 0
    for odd in ODD:
        entry = {**good, "value": "1 EUR", "recipients": ["ops@example.com"], key: odd}
        if key == "change":
            del entry["value"]
        try:
            parse_rule(entry, currency="EUR", names={"webhook": {}})
        except RuleError as error:
            refused += 1
            # Without any threshold the problem is that of the value.
            named = "value" if (key, odd) == ("change", None) else key
            for problem in error.problems:
                assert re.match(rf"{named}: \S.{{10,}}", problem), problem
                assert not PYDANTICS.search(problem), problem
                assert "\n" not in problem
                assert len(problem) < 1500, "the list of figures is the longest"
    assert refused >= len(ODD) - 7


def test_every_wrong_recipient_is_reported_once() -> None:
    entry = {"id": "r", "metric": "mrr", "granularity": "day", "comparison": "above", "severity": "error"}
    wrong = ["ops", "slak:ops", "ops", "ops@example.com"]
    with pytest.raises(RuleError) as refused:
        parse_rule({**entry, "value": "1 EUR", "recipients": wrong, "webhook": "gone"}, names={"webhook": {"ops": "x"}})
    keys = [problem.partition(":")[0] for problem in refused.value.problems]
    assert keys == ["recipients", "recipients", "webhook"]


@pytest.mark.parametrize(
    ("metric", "key", "given", "measure", "amount"),
    [
        ("mrr", "value", "-10.50 EUR", Measure.VALUE, "-10.50"),
        ("mrr", "value", "10EUR", Measure.VALUE, "10"),
        ("mrr", "change", "-500 EUR", Measure.DIFFERENCE, "-500"),
        ("mrr", "change", "-20 %", Measure.GROWTH, "-20"),
        ("active_users", "value", 100, Measure.VALUE, "100"),
        ("active_users", "value", "100", Measure.VALUE, "100"),
        ("active_users", "change", -10, Measure.DIFFERENCE, "-10"),
        ("active_users", "change", "+10 %", Measure.GROWTH, "10"),
        ("churn_rate", "value", "5 %", Measure.VALUE, "5"),
        ("churn_rate", "change", "2 points", Measure.DIFFERENCE, "2"),
        ("churn_rate", "change", "50 %", Measure.GROWTH, "50"),
    ],
)
def test_thresholds_are_read_with_their_units(
    metric: str, key: str, given: object, measure: Measure, amount: str
) -> None:
    entry = {
        "id": "r",
        "metric": metric,
        "granularity": "day",
        "comparison": "at least",
        key: given,
        "severity": "warning",
        "webhook": "ops",
    }
    rule = parse_rule(entry, currency="EUR", names={"webhook": {"ops": "https://hooks.example.com"}})
    assert (rule.threshold.measure, str(rule.threshold.amount)) == (measure, amount)
    # What is stored is read as what it was.
    again = parse_rule(rule.definition)
    assert (again, again.sha256) == (rule, rule.sha256)


@pytest.mark.parametrize(
    ("metric", "key", "given"),
    [
        ("active_users", "value", "100 EUR"),
        ("churn_rate", "value", 5),
        ("churn_rate", "change", "2"),
        ("arr", "value", "5"),
    ],
)
def test_a_unit_that_is_not_the_figures_is_refused(tmp_path: Path, metric: str, key: str, given: object) -> None:
    text = RIGHT.replace('"total_revenue"', f'"{metric}"').replace('value = "100 EUR"', f"{key} = {given!r}")
    assert f"{key}: '{given}' doesn't fit {metric}" in str(_refusal(tmp_path, text))


def test_what_is_left_out_has_defaults_and_rules_can_share_them(tmp_path: Path) -> None:
    path = tmp_path / "alerts.toml"
    shared = '[defaults]\nperiods = "2 of 3"\nno_data = "alert"\nwebhook = "chat"\n[[rules]]'
    own = RIGHT.replace('company = "acme"\n', "").replace(
        '["ops@example.com"]', '["ops@example.com", "OPS@example.com"]'
    )
    path.write_text(own.replace("[[rules]]", shared), encoding="utf-8")
    (rule,) = read_rules(path, SETTINGS)
    assert (rule.company, *rule.periods, rule.no_data) == (None, 2, 3, NoData.ALERT)
    assert [str(address) for address in rule.recipients] == ["mail:ops@example.com", "webhook:chat"]
    path.write_text(RIGHT, encoding="utf-8")
    (rule,) = read_rules(path, SETTINGS)
    assert (*rule.periods, rule.no_data, len(rule.recipients)) == (1, 1, NoData.OK, 1)
    assert rule.tell_within is not None
    assert rule.tell_within.days == 45


def test_the_example_and_the_documented_rules_can_be_loaded(tmp_path: Path) -> None:
    settings = Settings(slack="finance=https://hooks.slack.com/services/x", pagerduty="ops=KEY")  # type: ignore[arg-type]
    rules = read_rules(ROOT / "alerts.example.toml", settings)
    assert {rule.company for rule in rules} == {EACH_COMPANY, None, "acme-trading"}
    assert {rule.comparison for rule in rules} >= {Comparison.ABOVE, Comparison.BELOW, Comparison.AT_MOST}
    pages = "".join((ROOT / page).read_text(encoding="utf-8") for page in ("docs/how-to.md", "docs/alerts.md"))
    documented = re.findall(r"```toml\n(.*?)```", pages, re.DOTALL)
    assert len(documented) == 2
    for number, text in enumerate(documented):
        path = tmp_path / f"{number}.toml"
        path.write_text(text, encoding="utf-8")
        assert read_rules(path, settings)


def test_every_figure_is_a_column_of_its_table_and_every_amount_has_a_currency_beside_it() -> None:
    for metric in METRICS.values():
        column = metric.table.columns[metric.name]
        assert column.type == ("bigint" if metric.unit is Unit.COUNT else "numeric")
        assert ("currency" in metric.table.columns) or metric.unit is not Unit.MONEY
    named = {(metric.table.metric, metric.name) for metric in METRICS.values()}
    columns = {(t.metric, n) for t in METRIC_TABLES for n, c in t.columns.items() if c.type in {"numeric", "bigint"}}
    # The same figures as those of another table, what rates follow from, and what tells users from each other.
    again = {("revenue_metrics", "total_users")} | {
        ("mrr_movements", name) for name in ("mrr", "paying_customers", "total_revenue")
    }
    bases = {
        "churned_of_start",
        "expansion_of_paying",
        "customers_at_start",
        "mrr_at_start",
        "mrr_year_before",
        "total_revenue_year_before",
    }
    others = {column for column in columns if column[1] in bases or "fingerprint" in column[1]}
    assert columns - named == again | others


def test_a_rule_over_all_companies_is_in_the_platforms_currency_and_one_of_a_company_in_its_own(tmp_path: Path) -> None:
    path = tmp_path / "alerts.toml"
    path.write_text(RIGHT.replace("100 EUR", "100 NZD"), encoding="utf-8")
    (of_company,) = read_rules(path, SETTINGS)
    assert of_company.condition == "below 100 NZD"
    of_all = _refusal(tmp_path, RIGHT.replace("100 EUR", "100 NZD").replace('company = "acme"\n', ""))
    assert "'100 NZD' doesn't fit total_revenue, which is money in the reporting currency, EUR" in str(of_all)
