"""The ``alerts`` commands: rules and what fires, as a table or as JSON."""

import difflib
from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import click
from rich.table import Table

from analytics_pipeline.alerts.active_rules import ActiveRule, active_rules
from analytics_pipeline.alerts.alert_check import evaluate_window
from analytics_pipeline.alerts.closed_figures import latest_closed
from analytics_pipeline.alerts.evaluation import RuleEvaluation, rounded_figure
from analytics_pipeline.alerts.lifecycle import Alert, open_alerts
from analytics_pipeline.alerts.notices import ALL_COMPANIES, period_text
from analytics_pipeline.alerts.rule_metrics import Metric
from analytics_pipeline.alerts.rules import EACH_COMPANY, Rule
from analytics_pipeline.alerts.rules_file import RulesFileError, load_rules, read_rules, unknown_companies
from analytics_pipeline.cli.terminal import data_console, echo, echo_json
from analytics_pipeline.companies.calendar import Calendars, all_calendars, calendar_in, titled
from analytics_pipeline.database import connect
from analytics_pipeline.errors import AnalyticsError, UnknownNameError
from analytics_pipeline.messages.addresses import describe_address
from analytics_pipeline.messages.message import one_line
from analytics_pipeline.metrics.rates import Unit
from analytics_pipeline.settings import Settings, get_settings
from analytics_pipeline.timescale.clock import database_now

_FILE = click.argument(
    "file", metavar="[FILE]", type=click.Path(dir_okay=False, path_type=Path), required=False, default=None
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, amounts and rates as strings.")


@click.group()
def alerts() -> None:
    """Load, check and try the rules that watch the figures, and show what fires.

    FILE is the one of ANALYTICS_ALERT_RULES unless another is named: docs/alerts.md says what is in it.
    """


@alerts.command("load")
@_FILE
@_JSON
def load(file: Path | None, *, as_json: bool) -> None:
    """Put the rules of FILE in force, all of them or, if one is wrong, none; safe to repeat.

    Rules that are not in it are in force no more. The file of ANALYTICS_ALERT_RULES is loaded with every closed
    partition, too.
    """
    settings = get_settings()
    path = _path(file, settings)
    rules = read_rules(path, settings)
    with connect(settings, autocommit=True) as connection:
        loaded = load_rules(connection, rules, calendars=all_calendars(connection, settings), ui_url=settings.ui_url)
        unknown = unknown_companies(connection, rules)
    configured = settings.alert_rules_file
    if configured is not None and configured.absolute() != path.absolute():
        echo(f"Note: {configured} takes its place when the next partition is closed.", err=True)
    for company in unknown:
        echo(f"Note: there are no closed figures of a company {company!r} so far.", err=True)
    if as_json:
        echo_json(asdict(loaded))
    else:
        echo(f"{path}: {loaded}.")


@alerts.command("check")
@_FILE
@_JSON
def check(file: Path | None, *, as_json: bool) -> None:
    """Say whether FILE would be loaded, without a database; exit status 1 with every problem of its rules if not."""
    settings = get_settings()
    path = _path(file, settings)
    problems: list[str] = []
    rules: list[Rule] = []
    try:
        rules = read_rules(path, settings)
    except RulesFileError as error:
        problems = error.problems
    if as_json:
        echo_json({"file": str(path), "rules": [rule.definition for rule in rules], "problems": problems})
    else:
        echo("\n".join(problems) or f"{path}: {len(rules)} rules, all of them right.")
    if problems:
        raise SystemExit(1)


@alerts.command("list")
@_JSON
def list_(*, as_json: bool) -> None:
    """Show the rules in force, and the alerts that go on."""
    settings = get_settings()
    with connect(settings, autocommit=True) as connection:
        rules, going_on = active_rules(connection), open_alerts(connection)
        calendars = all_calendars(connection, settings)
    if as_json:
        # A rule that is no longer in force has ended its alerts.
        metrics = {active.rule.id: active.rule.metric for active in rules}
        echo_json(
            {
                "rules": [_rule_json(active) for active in rules],
                "alerts": [_alert_json(alert, metrics[alert.rule_id], calendars) for alert in going_on],
            }
        )
        return
    if not rules:
        echo("No rules are in force: 'analytics-pipeline alerts load FILE' loads some.")
        return
    _print(
        ("rule", "revision", "figure", "of", "condition", "severity", "notifies"),
        [_rule_cells(active, calendars) for active in rules],
    )
    if not going_on:
        echo("No alert goes on.")
        return
    _print(
        ("alert", "company", "state", "value", "condition", "since", "notified"),
        [
            (
                alert.rule_id,
                _company(alert.company, calendars),
                str(alert.condition),
                alert.shown,
                alert.threshold,
                period_text(alert.granularity, alert.first_period),
                f"{alert.notified_at:%Y-%m-%d %H:%M} UTC" if alert.notified_at else "no: the period is too old",
            )
            for alert in going_on
        ],
    )


@alerts.command("test")
@click.argument("rule_id", metavar="RULE")
@click.option(
    "--file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Take the rule from this file instead of those in force.",
)
@_JSON
def test(rule_id: str, file: Path | None, *, as_json: bool) -> None:
    """Evaluate RULE for the latest closed period and print what comes out; nothing is changed, nobody is notified."""
    settings = get_settings()
    with connect(settings, autocommit=True) as connection:
        rules = read_rules(file, settings) if file else [active.rule for active in active_rules(connection)]
        rule = _find(rule_id, rules)
        table, granularity = rule.metric.table, rule.granularity
        period = latest_closed(connection, table, granularity)
        if period is None:
            last = database_now(connection).date().replace(day=1) - timedelta(days=1)
            raise AnalyticsError(
                f"No {granularity} of {table.table} is closed yet: 'analytics-pipeline close --month {last:%Y-%m}' "
                "closes those of a month."
            )
        evaluations = list(evaluate_window(connection, table, granularity, period, [rule]))
        calendars = all_calendars(connection, settings)
    name = period_text(granularity, period.start)
    if as_json:
        echo_json(
            {"rule": rule.definition, "period": name, "results": [_evaluation_json(e, calendars) for e in evaluations]}
        )
        return
    echo(f"{rule.id}: {rule.metric.name} {rule.condition}, {granularity} {name}")
    _print(
        ("company", "state", "value", "why"),
        [(_company(e.company, calendars), _state(e), e.shown, e.latest.missing) for e in evaluations],
    )


def _path(file: Path | None, settings: Settings) -> Path:
    path = file or settings.alert_rules_file
    if path is None:
        raise AnalyticsError(
            f"There is no file of rules: name one, set ANALYTICS_ALERT_RULES, or write {settings.home / 'alerts.toml'}."
        )
    return path


def _find(rule_id: str, rules: Sequence[Rule]) -> Rule:
    by_id = {rule.id: rule for rule in rules}
    if rule_id not in by_id:
        near = difflib.get_close_matches(rule_id, by_id, n=3)
        remedy = f"did you mean {' or '.join(near)}?" if near else "'analytics-pipeline alerts list' shows them."
        raise UnknownNameError(f"There is no rule {rule_id!r}: {remedy}")
    return by_id[rule_id]


def _rule_json(active: ActiveRule) -> dict[str, object]:
    return {
        **active.rule.definition,
        "revision": active.revision,
        "condition": active.rule.condition,
        "loadedAt": f"{active.loaded_at:%Y-%m-%dT%H:%M:%SZ}",
    }


def _rule_cells(active: ActiveRule, calendars: Calendars) -> tuple[str, ...]:
    rule = active.rule
    notifies = ", ".join(describe_address(address.channel, address.target) for address in rule.recipients)
    company = "each company" if rule.company == EACH_COMPANY else _company(rule.company, calendars)
    return (
        rule.id,
        str(active.revision),
        f"{rule.metric.name}, {rule.granularity}",
        company,
        rule.condition,
        str(rule.severity),
        notifies,
    )


def _alert_json(alert: Alert, metric: Metric, calendars: Calendars) -> dict[str, object]:
    calendar = calendar_in(calendars, alert.company)
    return {
        "id": alert.alert_id,
        "rule": alert.rule_id,
        "companyId": alert.company,
        "companyName": alert.company and calendar.name,
        "timeZone": calendar.time_zone,
        "state": str(alert.condition),
        "severity": alert.severity,
        "value": _value(metric, alert.value, calendar.currency),
        "shown": alert.shown,
        "condition": alert.threshold,
        "since": period_text(alert.granularity, alert.first_period),
        "openedAt": f"{alert.opened_at:%Y-%m-%dT%H:%M:%SZ}",
        "toldAt": f"{alert.notified_at:%Y-%m-%dT%H:%M:%SZ}" if alert.notified_at else None,
    }


def _value(metric: Metric, value: Decimal | None, currency: str | None) -> Decimal | int | None:
    if value is None:
        return None
    figure = rounded_figure(metric, value, currency)
    return int(figure) if metric.unit is Unit.COUNT else figure


def _evaluation_json(evaluation: RuleEvaluation, calendars: Calendars) -> dict[str, object]:
    figure = evaluation.latest.figure
    return {
        "companyId": evaluation.company,
        "companyName": evaluation.company and calendar_in(calendars, evaluation.company).name,
        "state": _state(evaluation),
        "value": _value(evaluation.rule.metric, figure.value, figure.currency),
        "shown": evaluation.shown,
        "crossed": evaluation.crossed,
        "reason": evaluation.latest.missing or None,
    }


def _state(evaluation: RuleEvaluation) -> str:
    if evaluation.fires:
        return "firing"
    return "no_data" if evaluation.has_no_data else "ok"


def _company(company: str | None, calendars: Calendars) -> str:
    return ALL_COMPANIES if company is None else one_line(titled(calendar_in(calendars, company)))


def _print(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table()
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*row)
    data_console().print(table)
