"""Answers over HTTP: the documented fields in their order, exact numbers, the parameters, and conditional requests."""

import json
from decimal import Decimal
from typing import Any

from analytics_pipeline_tests.api.conftest import HEADLINE, Served

ASKED = {question.command: question for question in HEADLINE.questions}


def ask(served: Served, path: str, whose: str = HEADLINE.company, **parameters: str) -> Any:
    """Return the JSON of an answer, its numbers exact."""
    response = served.client.get(path, params=parameters, headers=served.headers(whose))
    assert response.status_code == 200, response.text
    return json.loads(response.text, parse_float=Decimal)


def dates(command: str) -> dict[str, str]:
    return {"startDate": ASKED[command].start, "endDate": ASKED[command].end}


def test_revenue_has_the_agreed_fields_first_and_its_decimals(served: Served) -> None:
    response = served.client.get("/analytics/revenue", params=dates("revenue"), headers=served.headers())
    assert response.text.startswith(
        '{"mrr":2500.00,"arr":30000.00,"totalRevenue":15000.00,"averageRevenuePerUser":150.00,"revenueGrowth":15.5,'
        '"currency":"EUR",'
    )


def test_users_have_the_agreed_fields_first(served: Served) -> None:
    response = served.client.get("/analytics/users", params=dates("users"), headers=served.headers())
    assert response.text.startswith(
        '{"totalUsers":100,"activeUsers":85,"newUsers":15,"churnedUsers":5,"churnRate":5.0,"activeUserRate":85.0,'
    )
