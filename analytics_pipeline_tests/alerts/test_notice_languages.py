"""An alert is in the words and the notation of its company, one over all companies in those of the platform."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from itertools import product

import pytest

from analytics_pipeline.alerts.alert_check import update_alerts
from analytics_pipeline.alerts.alert_words import condition_in_words, in_notation
from analytics_pipeline.alerts.notices import Condition, Notice, Resolution, compose
from analytics_pipeline.alerts.rule_metrics import METRICS
from analytics_pipeline.alerts.rules import Rule
from analytics_pipeline.alerts.rules_file import load_rules
from analytics_pipeline.companies.calendar import Calendars, all_calendars
from analytics_pipeline.languages.catalogues import language_of
from analytics_pipeline.languages.wording import message
from analytics_pipeline.messages.channels.slack import SlackChannel
from analytics_pipeline.messages.channels.teams import TeamsChannel
from analytics_pipeline.messages.message import Content
from analytics_pipeline.messages.message_notation import notation_of
from analytics_pipeline.metrics.rates import Unit
from analytics_pipeline.metrics.tables import REVENUE_METRICS
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.windows import Granularity
from analytics_pipeline_tests.alerts.figures_factory import close_revenue, start_of
from analytics_pipeline_tests.alerts.sample_rules import rule

MINUS = "\u2212"
NOW = start_of("2026-03-02")
NOTICE = Notice(
    alert_id=7,
    condition=Condition.FIRING,
    company="acme",
    name="Acme GmbH",
    time_zone="Europe/Berlin",
    period=start_of("2026-02"),
    since=start_of("2026-01"),
    shown="-25.0 % to 12,375.00 EUR",
    value=Decimal("12375.005"),
    change=Decimal(-25),
)
RULE = rule(change="-20 %", periods="2 of 3")
UI = "https://dagster.example.com"


def _compose(locale: str, *notices: Notice, of: Rule = RULE) -> Content:
    return compose(of, 3, notices or [NOTICE], NOW, ui_url=UI, locale=locale)


def _plain(text: str) -> str:
    """Return a text with ordinary blanks."""
    return text.replace("\u00a0", " ")


def test_an_alert_says_in_german_what_when_of_whom_and_since_when() -> None:
    content = _compose("de_DE")
    assert content.subject == (
        f"[Fehler] low-revenue: Acme GmbH, Gesamtumsatz: {MINUS}25,0 % auf 12.375,00 EUR "
        f"(Ver\u00e4nderung unter {MINUS}20 % in 2 von 3 Monaten), Februar 2026"
    )
    assert _plain(content.text).splitlines() == [
        f"Gesamtumsatz: Ver\u00e4nderung unter {MINUS}20 % in 2 von 3 Monaten",
        "Ausgel\u00f6st: Die Kennzahl hat den Schwellenwert der Regel verletzt.",
        "",
        "Regel:       low-revenue, Fehler",
        "Kennzahl:    Gesamtumsatz (total_revenue): Eingegangene Zahlungen abz\u00fcglich Erstattungen.",
        f"Bedingung:   Ver\u00e4nderung unter {MINUS}20 % in 2 von 3 Monaten",
        "Monat:       Februar 2026 (Europe/Berlin)",
        "Unternehmen: Acme GmbH",
        f"Wert:        {MINUS}25,0 % auf 12.375,00 EUR",
        "Seit:        Januar 2026",
        "",
        f"Siehe: {UI}/assets/revenue_metrics_monthly?view=checks",
        "",
        "Sie erhalten eine Nachricht, wenn ein Alarm beginnt, und eine, wenn er vorbei ist; "
        "'analytics-pipeline alerts list' zeigt alle.",
    ]
    assert '<html lang="de">' in content.html
    assert ">Die Zahlen in Dagster</a>" in content.html
    assert content.opens == "\u00d6ffnen"
    assert content.event is not None
    # By it PagerDuty groups and routes: it is the same in every language.
    assert content.event.source == "total_revenue of Acme GmbH"
    everybody = _compose("de_DE", replace(NOTICE, company=None, name=None))
    assert everybody.event is not None
    assert everybody.event.source == "total_revenue of all companies"


def test_an_alert_says_in_spanish_that_there_are_no_data_and_why() -> None:
    why = message("the day before: {why}", why=message("the day is not closed"))
    silent = replace(
        NOTICE, condition=Condition.NO_DATA, shown="no data", period=start_of("2026-02-28"), change=None, reason=why
    )
    watched = rule(id="nobody-there", metric="active_users", granularity="day", value="1000", severity="warning")
    content = _compose("es_ES", silent, of=watched)
    assert content.subject == (
        "[aviso] nobody-there: Acme GmbH, Usuarios activos: sin datos (por debajo de 1.000), 28 feb 2026"
    )
    assert dict(content.facts)["Motivo"] == "d\u00eda anterior: el d\u00eda no est\u00e1 cerrado"
    assert content.summary == "Sin datos: no hay nada que comparar con el umbral."


def test_of_several_companies_each_is_listed_in_the_notation() -> None:
    content = _compose("de_DE", *(replace(NOTICE, alert_id=n, name=f"Firma {n}") for n in range(1203)))
    assert content.subject.startswith("[Fehler] low-revenue: 1.203 Unternehmen, Gesamtumsatz (Ver\u00e4nderung unter")
    assert f"Firma 199: {MINUS}25,0 % auf 12.375,00 EUR, seit Januar 2026" in _plain(content.text)
    assert "und 1.003 weitere" in content.html
    assert "<bdi>Seit</bdi>" in content.html


def test_a_number_is_none_of_the_right_to_left_name_before_it() -> None:
    names = {"acme": "Acme GmbH", "hebrew": "\u05d7\u05d1\u05e8\u05d4", "arabic": "\u0634\u0631\u0643\u0629 7"}
    notices = [replace(NOTICE, company=company, name=name, shown="12.00 EUR") for company, name in names.items()]
    for locale, said in (("de_DE", "12,00 EUR, seit Januar 2026"), ("en_GB", "12.00 EUR, since 2026-01")):
        text = _compose(locale, *notices).text
        assert f"\nAcme GmbH: {said}\n" in text
        assert f"\n\u2068{names['hebrew']}\u2069: {said}\n\u2068{names['arabic']}\u2069: {said}\n" in text


def test_units_follow_the_number_with_the_decimals_that_are_shown() -> None:
    def said(locale: str, amount: str) -> str:
        watched = rule(metric="churn_rate", change=f"{amount} points", comparison="above")
        return dict(_compose(locale, of=watched).facts)[{"de": "Bedingung", "es": "Condici\u00f3n"}[locale[:2]]]

    assert [said("de_DE", amount) for amount in ("1", "1.0", "2", "-1")] == [
        "Ver\u00e4nderung \u00fcber 1 Prozentpunkt",
        "Ver\u00e4nderung \u00fcber 1,0 Prozentpunkte",
        "Ver\u00e4nderung \u00fcber 2 Prozentpunkte",
        f"Ver\u00e4nderung \u00fcber {MINUS}1 Prozentpunkt",
    ]
    assert [said("es_ES", amount).removeprefix("variaci\u00f3n ") for amount in ("1", "1.0", "1.5")] == [
        "por encima de 1 punto porcentual",
        "por encima de 1,0 punto porcentual",
        "por encima de 1,5 puntos porcentuales",
    ]
    english = _compose("en_GB", of=rule(metric="churn_rate", change="1 points", comparison="above"))
    assert dict(english.facts)["Condition"] == "change above 1 points"


@pytest.mark.parametrize(
    ("amount", "locale", "written"),
    [
        ("10,000.5 EUR", "de_DE", "10.000,50 EUR"),
        ("10,000.5 EUR", "fr_FR", "10\u202f000,50 EUR"),
        ("10,000.5 EUR", "en_GB", "10,000.5 EUR"),
        ("10,000 EUR", "de_DE", "10.000 EUR"),
        # No digit of a rule is lost, and a crypto asset has no usual ones.
        ("10.125 EUR", "de_DE", "10,125 EUR"),
        ("0.5 BTC", "de_DE", "0,5 BTC"),
    ],
)
def test_an_amount_of_a_condition_has_the_decimals_of_its_currency(amount: str, locale: str, written: str) -> None:
    said = in_notation(condition_in_words(f"below {amount}"), notation_of(locale))
    assert said.partition(" ")[2] == written


def _kinds() -> Iterator[tuple[Rule, list[Notice]]]:
    """Yield everything that can be said: each beginning and end, of one company and of several, and each figure."""
    for condition, resolution in product(Condition, (None, *Resolution)):
        shown = "no data" if condition is Condition.NO_DATA else "75.00 EUR"
        notice = replace(NOTICE, condition=condition, resolution=resolution, shown=shown, company=None)
        yield RULE, [notice]
        yield RULE, [replace(notice, time_zone=zone) for zone in ("UTC", "Europe/Berlin")]
    units = {Unit.MONEY: "1 EUR", Unit.COUNT: "1", Unit.PERCENT: "1 %", Unit.RATIO: "1"}
    for metric in METRICS.values():
        yield rule(metric=metric.name, value=units[metric.unit], granularity="day", severity="warning"), [NOTICE]


@pytest.mark.parametrize("locale", ["de_DE", "es_ES"])
def test_nothing_of_an_alert_is_in_english(locale: str) -> None:
    english = [
        text
        for text, (form, *_) in language_of(locale[:2]).texts.items()
        if form != text and len(text) > 5 and "{" not in text
    ]
    contents = [_compose(locale, *notices, of=of) for of, notices in _kinds()]
    said = "\n".join(f"{content.subject}\n{content.text}\n{content.html}\n{content.summary}" for content in contents)
    # A figure is named as in the rule, too.
    for metric in METRICS:
        said = said.replace(f" ({metric})", "")
    left = [text for text in english if text in said and re.search(rf"(?<![\w.]){re.escape(text)}(?![\w.])", said)]
    assert left == []


def test_programs_read_the_same_in_every_language_but_the_text_for_people() -> None:
    german, english = (json.loads(_compose(locale).payload) for locale in ("de_DE", "en_GB"))
    assert german.pop("text").startswith("[Fehler] low-revenue: Acme GmbH, Gesamtumsatz: ")
    assert english.pop("text").startswith("[error] low-revenue: Acme GmbH total_revenue -25.0 % to 12,375.00 EUR ")
    assert german == english


def test_channels_add_words_in_the_language() -> None:
    content = replace(_compose("de_DE"), facts=[("Wert", "1")] * 25)
    assert "und 5 weitere" in TeamsChannel.render(content).text
    button = json.loads(SlackChannel.render(content).text)["blocks"][-1]["elements"][0]
    assert button["text"]["text"] == "\u00d6ffnen"


def test_every_english_locale_reads_as_the_default_and_one_without_words_has_its_notation() -> None:
    english = _compose("en_GB")
    assert "-25.0 % to 12,375.00 EUR (change below -20 % in 2 of 3 months) 2026-02" in english.subject
    # Documents are not written in Japanese, and nobody knows the last one: no message waits for that.
    for locale in ("en_US", "en_IE", "ja_JP", "xx_YY"):
        assert _compose(locale) == english
    indian = _compose("en_IN", replace(NOTICE, shown="-5.0 % to 1,234,567.00 INR"))
    assert "-5.0 % to 12,34,567.00 INR" in indian.subject
    french = _compose("fr_FR")
    assert "Total revenue (total_revenue): Payments received minus refunds." in french.text
    assert dict(french.facts)["Value"] == f"{MINUS}25,0\u00a0% to 12\u202f375,00 EUR"
    assert dict(french.facts)["Since"] == "janvier 2026"


@pytest.fixture
def calendars(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> Iterator[Calendars]:
    """A platform in Spain with a company in Berlin, one in Vienna and one that leaves its locale open."""
    for company, locale in (("acme", "de_DE"), ("globex", "de_AT"), ("initech", None)):
        connection.execute("INSERT INTO analytics_companies (company_id, locale) VALUES (%s, %s)", [company, locale])
    settings = get_settings().model_copy(update={"locale": "es_ES"})
    yield all_calendars(connection, settings)
    connection.execute("DELETE FROM analytics_companies")


def _subjects(connection: Connection, calendars: Calendars, *rules: Rule, companies: tuple[str, ...]) -> list[str]:
    """Close a month in which every rule fires for these companies, and return the subjects of the messages."""
    load_rules(connection, rules, calendars=calendars)
    close_revenue(connection, "2026-01", dict.fromkeys(companies, "1234.5"))
    update_alerts(connection, REVENUE_METRICS, Granularity.MONTH, NOW, calendars=calendars)
    return [subject for (subject,) in connection.execute("SELECT subject FROM analytics_outbox ORDER BY outbox_id")]


def test_an_alert_follows_its_company_and_one_over_all_companies_the_platform(
    connection: Connection, calendars: Calendars
) -> None:
    each, together = rule(id="each", value="9999 EUR"), rule(id="together", value="9999 EUR", company=None)
    subjects = _subjects(connection, calendars, each, together, companies=("acme", "globex", "initech", "unknown"))
    found = "1.234,50 EUR (unter 9.999 EUR)"
    assert subjects == [
        f"[Fehler] each: acme, Gesamtumsatz: {found}, Januar 2026",
        f"[Fehler] each: globex, Gesamtumsatz: {found}, J\u00e4nner 2026",
        "[error] each: initech, Ingresos totales: 1.234,50 EUR (por debajo de 9.999 EUR), enero de 2026",
        "[error] each: unknown, Ingresos totales: 1.234,50 EUR (por debajo de 9.999 EUR), enero de 2026",
        "[error] together: todas las empresas, Ingresos totales: 4.938,00 EUR (por debajo de 9.999 EUR), enero de 2026",
    ]
    load_rules(connection, [], calendars=calendars)
    assert connection.execute("SELECT subject FROM analytics_outbox ORDER BY outbox_id DESC LIMIT 1").fetchone() == (
        "[cerrada] together: todas las empresas, Ingresos totales: 4.938,00 EUR (por debajo de 9.999 EUR), "
        "enero de 2026",
    )


def test_a_rule_may_have_a_locale_of_its_own(connection: Connection, calendars: Calendars) -> None:
    english = rule(value="9999 EUR", locale="en-gb")
    assert english.definition["locale"] == "en_GB"
    assert "locale" not in rule().definition, "a rule without one is the same as before"
    assert _subjects(connection, calendars, english, companies=("acme", "initech")) == [
        f"[error] low-revenue: {company} total_revenue 1,234.50 EUR (below 9,999 EUR) 2026-01"
        for company in ("acme", "initech")
    ]


def test_one_message_about_companies_of_one_locale_is_in_it_and_of_several_in_that_of_the_platform(
    connection: Connection, calendars: Calendars
) -> None:
    many = [f"c{number}" for number in range(12)]
    connection.cursor().executemany(
        "INSERT INTO analytics_companies (company_id, locale) VALUES (%s, 'de_DE')", [(company,) for company in many]
    )
    germans = all_calendars(connection, get_settings().model_copy(update={"locale": "es_ES"}))
    (german,) = _subjects(connection, germans, rule(value="9999 EUR"), companies=tuple(many))
    assert german.startswith("[Fehler] low-revenue: 12 Unternehmen, Gesamtumsatz (unter 9.999 EUR)")
    connection.execute("TRUNCATE analytics_alerts, analytics_alert_rules, analytics_outbox")
    watched = rule(value="9999 EUR", recipients=["ops@example.com", "pagerduty:ops"])
    spanish, *each = _subjects(connection, calendars, watched, companies=("acme", *many))
    assert spanish.startswith("[error] low-revenue: 13 empresas, Ingresos totales (por debajo de 9.999 EUR)")
    # Where each has an event of its own, that is its company's.
    assert [subject.partition(":")[0] for subject in each] == ["[Fehler] low-revenue", *["[error] low-revenue"] * 12]
