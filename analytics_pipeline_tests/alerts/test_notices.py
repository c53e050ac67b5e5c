"""Messages say what happened, and nothing in an id of a company can be more than text."""

import json
from dataclasses import replace
from decimal import Decimal

import pytest

from analytics_pipeline.alerts.notices import Condition, Notice, Resolution, compose
from analytics_pipeline.messages.message import Content
from analytics_pipeline_tests.alerts.figures_factory import start_of
from analytics_pipeline_tests.alerts.sample_rules import rule

NOTICE = Notice(
    alert_id=7,
    condition=Condition.FIRING,
    company="acme",
    period=start_of("2026-02"),
    since=start_of("2026-01"),
    shown="-25.00 % to 75.00 EUR",
    value=Decimal("75.005"),
    change=Decimal(-25),
)
RULE = rule(change="-20 %", periods="2 of 3", description="Revenue falls")
NOW = start_of("2026-03-02")


def _compose(*notices: Notice) -> Content:
    return compose(RULE, 3, notices, NOW)


def test_a_message_says_what_when_of_whom_and_since_when() -> None:
    message = _compose(NOTICE)
    assert message.subject == (
        "[error] low-revenue: acme total_revenue -25.00 % to 75.00 EUR (change below -20 % in 2 of 3 months) 2026-02"
    )
    assert message.text.splitlines()[:11] == [
        "Revenue falls",
        "Firing: the figure has crossed the threshold of the rule.",
        "",
        "Rule:      low-revenue, error",
        "Figure:    total_revenue: Payments received minus refunds.",
        "Condition: change below -20 % in 2 of 3 months",
        "Month:     2026-02 (UTC)",
        "Company:   acme",
        "Value:     -25.00 % to 75.00 EUR",
        "Since:     2026-01",
        "",
    ]
    for part in ("Revenue falls", "-25.00 % to 75.00 EUR", "2026-02 (UTC)", "Firing: the figure"):
        assert part in message.html


def test_a_company_is_called_by_its_name_and_dates_are_those_of_its_time_zone() -> None:
    kiwi = replace(NOTICE, company="k-1", name="Kiwi <b>Ltd", time_zone="Pacific/Auckland")
    message = _compose(kiwi)
    assert message.subject.startswith("[error] low-revenue: Kiwi <b>Ltd total_revenue ")
    assert "Kiwi &lt;b&gt;Ltd" in message.html
    assert dict(message.facts)["Month"] == "2026-02 (Pacific/Auckland)"
    (alert,) = json.loads(message.payload)["data"]["alerts"]
    assert (alert["companyId"], alert["companyName"]) == ("k-1", "Kiwi <b>Ltd")
    assert dict(_compose(kiwi, replace(NOTICE, alert_id=8)).facts)["Month"] == "2026-02 (where each company is)"


def test_mails_link_to_the_figures_where_the_dagster_ui_is_known() -> None:
    message = compose(RULE, 3, [NOTICE], NOW, ui_url="https://dagster.example.com")
    link = "https://dagster.example.com/assets/revenue_metrics_monthly?view=checks"
    assert f"See: {link}\n" in message.text
    assert f'<a href="{link}">' in message.html
    assert "See: " not in _compose(NOTICE).text
    assert "<a " not in _compose(NOTICE).html


def test_the_payload_has_exact_numbers_and_names_everything() -> None:
    assert json.loads(_compose(NOTICE).payload) == {
        "type": "alert.firing",
        "timestamp": "2026-03-02T00:00:00Z",
        "text": _compose(NOTICE).subject,
        "data": {
            "rule": "low-revenue",
            "revision": 3,
            "description": "Revenue falls",
            "severity": "error",
            "metric": "total_revenue",
            "unit": "money",
            "granularity": "month",
            "condition": "change below -20 % in 2 of 3 months",
            "alerts": [
                {
                    "id": 7,
                    "companyId": "acme",
                    "companyName": "acme",
                    "timeZone": "UTC",
                    "period": "2026-02",
                    "since": "2026-01",
                    "value": "75.005",
                    "change": "-25",
                    "shown": "-25.00 % to 75.00 EUR",
                    "reason": None,
                    "resolution": None,
                }
            ],
        },
    }


@pytest.mark.parametrize(
    ("condition", "resolution", "label", "type_", "summary"),
    [
        (Condition.FIRING, None, "error", "firing", "Firing: "),
        (Condition.NO_DATA, None, "error", "no_data", "No data: "),
        (Condition.FIRING, Resolution.RECOVERED, "resolved", "resolved", "Over: a period has been closed"),
        (Condition.NO_DATA, Resolution.RECOVERED, "resolved", "resolved", "Over: there are figures again"),
        (Condition.FIRING, Resolution.CORRECTED, "corrected", "resolved", "Corrected: the figures of this very period"),
        (Condition.FIRING, Resolution.RULE_CHANGED, "closed", "resolved", "Closed: the rule was changed"),
        (Condition.NO_DATA, Resolution.RULE_REMOVED, "closed", "resolved", "Closed: the rule was removed"),
    ],
)
def test_each_kind_of_message_says_which_it_is(
    condition: Condition, resolution: Resolution | None, label: str, type_: str, summary: str
) -> None:
    message = _compose(replace(NOTICE, condition=condition, resolution=resolution))
    assert message.subject.startswith(f"[{label}] low-revenue: ")
    assert json.loads(message.payload)["type"] == f"alert.{type_}"
    assert message.text.splitlines()[1].startswith(summary)
    assert summary in message.html


@pytest.mark.parametrize(
    "company",
    [
        "acme\r\nBcc: victim@example.com",
        "acme\nFigure: 0.00 EUR",
        "<script>alert(1)</script><img src=x>",
        "</td></tr></table><a href='https://evil.example'>",
        "invoice\u202efdp.exe\u200b",
        "a" * 5000,
        "nul\0 and half a pair \ud800",
        '"; DROP TABLE analytics_alerts; --',
    ],
)
def test_a_company_cannot_be_markup_a_header_or_a_line_of_its_own(company: str) -> None:
    plain = _compose(NOTICE)
    for notices in ([replace(NOTICE, company=company)], [replace(NOTICE, company=company)] * 2):
        message = _compose(*notices)
        assert message.subject.isprintable()
        assert len(message.subject) <= 180
        assert "\u202e" not in message.text + message.html
        assert len(message.text) < 2000
        if len(notices) == 1:
            assert len(message.text.splitlines()) == len(plain.text.splitlines())
            assert message.html.count("<") == plain.html.count("<")
        # The receiver's own parser gives the id back as it is.
        assert json.loads(message.payload)["data"]["alerts"][0]["companyId"].startswith(company[:3])


def test_of_very_many_companies_a_mail_lists_some_and_the_payload_all() -> None:
    message = _compose(*(replace(NOTICE, alert_id=n, company=f"c{n}") for n in range(1000)))
    assert message.subject == (
        "[error] low-revenue: 1000 companies total_revenue (change below -20 % in 2 of 3 months) 2026-02"
    )
    assert "c199: -25.00 % to 75.00 EUR, since 2026-01" in message.text
    assert "c200" not in message.text
    assert "and 800 more" in message.text
    assert "and 800 more" in message.html
    assert len(json.loads(message.payload)["data"]["alerts"]) == 1000
