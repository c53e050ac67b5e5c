"""Operators read of failures in the words and the notation of the platform; what machines say stays as it is."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import pytest

from analytics_pipeline.languages.catalogues import language_of
from analytics_pipeline.languages.wording import Message
from analytics_pipeline.messages import incident_words as words
from analytics_pipeline.messages.addresses import parse_addresses
from analytics_pipeline.messages.incident_text import Incident, compose
from analytics_pipeline.messages.incidents import Failure, enqueue_due, record_failure, record_recovery
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline_tests.events_factory import at

NOON, EVENING = at("2026-03-05T12:00"), at("2026-03-05T18:00")
SPAN = words.span("2026-01", "2026-03")
REMEDIES = (
    words.FILE_REMEDY,
    words.PARTITIONS_REMEDY,
    words.RUN_REMEDY,
    words.DATABASE_REMEDY,
    words.policy_remedy(7, is_paused=False),
    words.policy_remedy(7, is_paused=True),
)
ERRORS = (words.NO_REASON_OF_RUN, words.NO_REASON_OF_POLICY, words.paused_after(5, words.NO_REASON_OF_POLICY))
SUBJECTS = (
    words.DATABASE,
    words.name_run("report_mail"),
    words.name_run("event_ingestion", "shop of Köln for you.csv"),
    words.name_run(words.MATERIALISATION, "mrr_movements, user_metrics", "2025-01-05-09:00"),
    words.name_run("daily_aggregates", partitions=SPAN),
)


def _incident(**changes: object) -> Incident:
    """Return a failure as the database keeps it, in English."""
    kept = Incident(
        key="k",
        subject=str(words.name_run(words.MATERIALISATION, "mrr_movements", SPAN)),
        first_at=NOON,
        last_at=EVENING,
        count=1200,
        recovered_at=None,
        partitions=str(SPAN),
        error="could not extend file from 1 to 2",
        remedy=str(words.PARTITIONS_REMEDY),
        link="run 123",
        recovery=None,
    )
    return replace(kept, **{name: str(v) if isinstance(v, Message) else v for name, v in changes.items()})  # type: ignore[arg-type]


def test_a_failure_is_in_the_words_and_the_notation_and_its_error_as_it_was() -> None:
    content = compose([_incident()], "de_DE")
    assert content.subject == "[analytics] fehlgeschlagen: Materialisierung von mrr_movements für 2026-01 bis 2026-03"
    assert content.text.splitlines()[:6] == [
        "Fehlgeschlagen: Materialisierung von mrr_movements für 2026-01 bis 2026-03",
        "Partitionen: 2026-01 bis 2026-03",
        "Fehlgeschlagen seit: 05.03.2026, 12:00:00 UTC, 1.200 Mal, zuletzt 05.03.2026, 18:00:00 UTC",
        "Erste Zeile des Fehlers: could not extend file from 1 to 2",
        "Siehe: run 123",
        "Was zu tun ist: beheben Sie die Ursache; führen Sie dann den Lauf in der Dagster-Oberfläche erneut aus, oder "
        "bringen Sie seine Partitionen mit dem Befehl close zum Abschluss. Der Sensor partition_gaps fordert sie "
        "einige Male von selbst an.",
    ]
    assert '<html lang="de">' in content.html
    assert content.summary.startswith("Fehlgeschlagen: Materialisierung")
    german, english = (json.loads(compose([_incident()], locale).payload) for locale in ("de_DE", "en_GB"))
    assert german.pop("text") == content.subject
    assert english.pop("text") != content.subject
    assert german == english


def test_what_is_due_together_is_counted_in_the_language() -> None:
    over = _incident(recovered_at=EVENING, recovery=words.JOB_REMOVED)
    content = compose([_incident(), _incident(subject="report_mail"), over], "es_ES")
    assert content.subject == (
        "[analytics] 2 fallos y 1 recuperación; en primer lugar: materialización de mrr_movements para 2026-01 a "
        "2026-03"
    )
    # A failure and a recovery are of two genders in Spanish: the words fit either.
    recovered = compose([replace(over, subject="report_mail"), over], "es_ES")
    assert recovered.subject == "[analytics] 2 recuperaciones; en primer lugar: report_mail"
    assert [heading for heading, _ in content.facts][1:] == [
        "Ha fallado: report_mail",
        "Vuelve a funcionar: materialización de mrr_movements para 2026-01 a 2026-03",
    ]
    assert "Funciona desde: 5 mar 2026, 18:00:00 UTC\nCómo: se eliminó el trabajo\n" in content.text


@pytest.mark.parametrize("locale", ["de_DE", "es_ES"])
def test_nothing_of_an_incident_that_is_ours_is_in_english(locale: str) -> None:
    incidents = [
        *(_incident(remedy=remedy) for remedy in REMEDIES),
        *(_incident(error=error) for error in ERRORS),
        _incident(error=words.paused_after(5, "disk full to the brim")),
        *(_incident(subject=subject) for subject in SUBJECTS),
        _incident(recovered_at=EVENING, recovery=words.JOB_REMOVED),
    ]
    said = "\n".join(compose([incident], locale).text for incident in incidents)
    language = language_of(locale[:2])
    english = {str(text) for text in (*REMEDIES, *ERRORS, words.JOB_REMOVED, words.MATERIALISATION, words.DATABASE)}
    english |= {t for t, (form, *_) in language.texts.items() if form != t and len(t) > 5 and "{" not in t}
    assert [text for text in english if re.search(rf"(?<![\w.]){re.escape(text)}(?![\w.])", said)] == []
    # Names of files and errors are data, whatever words of ours they hold.
    assert "shop of Köln for you.csv" in said
    assert "disk full to the brim" in said
    assert "could not extend file from 1 to 2" in said


def test_what_the_database_keeps_in_english_is_said_in_the_language(connection: Connection) -> None:
    def failure(subject: str, remedy: str, moment: datetime) -> None:
        record_failure(connection, Failure("run", subject, moment, words.NO_REASON_OF_RUN, remedy, partitions=SPAN))

    def sent() -> Sequence[tuple[str, str]]:
        query = "SELECT subject, text_body FROM analytics_outbox ORDER BY outbox_id DESC"
        return connection.execute(query).fetchall()

    say = language_of("de").say
    failure(words.name_run("daily_aggregates", partitions=SPAN), words.PARTITIONS_REMEDY, NOON)
    assert enqueue_due(connection, parse_addresses(["ops@example.com"]), "de_DE") == 1
    ((subject, text),) = sent()
    assert subject.startswith("[analytics] fehlgeschlagen: daily_aggregates für ")
    for part in (SPAN, words.PARTITIONS_REMEDY, words.NO_REASON_OF_RUN):
        assert f": {say(part)}\n" in text
    assert record_recovery(connection, "run", "daily_aggregates for 2026-01 to 2026-03", EVENING, words.JOB_REMOVED)
    enqueue_due(connection, parse_addresses(["ops@example.com"]), "de_DE")
    assert f": {say(words.JOB_REMOVED)}\n" in sent()[0][1]
