"""Rules for tests."""

from analytics_pipeline.alerts.rules import Rule, parse_rule


def rule(**changes: object) -> Rule:
    """Return a rule: monthly revenue of each company below 100 EUR, an error, told to ops; with changes."""
    entry: dict[str, object] = {
        "id": "low-revenue",
        "metric": "total_revenue",
        "granularity": "month",
        "company": "*",
        "comparison": "below",
        "value": "100 EUR",
        "severity": "error",
        "recipients": ["ops@example.com"],
        "tell_within": "always",
        **changes,
    }
    if "change" in changes:
        del entry["value"]
    return parse_rule({key: value for key, value in entry.items() if value is not None}, currency="EUR")
