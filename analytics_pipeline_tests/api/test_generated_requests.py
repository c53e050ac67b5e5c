"""Whatever a request of the described form holds, the answer is of the described form, and no failure of the server."""

import os
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from pydantic import BaseModel

from analytics_pipeline.api import schemas
from analytics_pipeline.api.app import create_app
from analytics_pipeline.settings import Settings
from analytics_pipeline_tests.api.conftest import ANYBODY, Served

# Of each route; SCHEMA_EXAMPLES=200 tries for minutes.
EXAMPLES = int(os.environ.get("SCHEMA_EXAMPLES", "3"))

DESCRIBED = create_app(Settings()).openapi()
schema = schemathesis.openapi.from_dict(DESCRIBED)
# The token is ours and not the one that was generated, or left out; that a period has both dates or none, and what an
# event is, no schema says.
EXCLUDED = [
    schemathesis.checks.CHECKS.get_one(name)
    for name in ("ignored_auth", "missing_required_header", "positive_data_acceptance")
]
NEGATIVE = schemathesis.checks.CHECKS.get_one("negative_data_rejection")


def _answers() -> list[Any]:
    """Return what each operation answers in JSON when all goes well."""
    found = []
    for path, methods in DESCRIBED["paths"].items():
        for method, operation in methods.items():
            first = min(status for status in operation["responses"] if status.startswith("2"))
            content = operation["responses"][first].get("content", {}).get("application/json")
            # The files of documents may be JSON, too: of no form of ours.
            if content is not None and "$ref" in content["schema"]:
                found.append(pytest.param(content, id=f"{method} {path}"))
    return found


@pytest.mark.parametrize("content", _answers())
def test_an_answer_in_json_has_an_example_of_its_form(content: dict[str, Any]) -> None:
    model: type[BaseModel] = getattr(schemas, content["schema"]["$ref"].rpartition("/")[2])
    example = content["example"]
    assert model.model_validate(example).model_dump(by_alias=True, exclude_unset=True).keys() == example.keys()


@pytest.mark.slow
@schema.parametrize()
@settings(
    derandomize=True,
    max_examples=EXAMPLES,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_answers_are_as_described(case: Any, served: Served) -> None:
    asked = case.as_transport_kwargs(base_url="http://testserver")
    sent = dict(asked.pop("headers", None) or {})
    asked.pop("cookies", None)
    for headers in ({}, served.headers(ANYBODY), served.headers("operator")):
        response = served.client.request(**asked, headers={**sent, **headers})
        # What is wrong with a request may be that it has no token, and it gets ours.
        excluded = [*EXCLUDED, NEGATIVE] if headers else EXCLUDED
        case.validate_response(response, excluded_checks=excluded)
