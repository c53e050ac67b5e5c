"""How OpenAPI describes the routes: answers with examples, and errors as the problems they are."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from analytics_pipeline.api.examples import EXAMPLES
from analytics_pipeline.api.problems import MEDIA_TYPE, TITLES
from analytics_pipeline.api.schemas import Problem

_DESCRIPTION = """
Revenue, users, crypto assets and reports of companies. Whoever asks needs a token, which says for which company: of
others nothing is answered. Every figure is defined in docs/DEFINITIONS.md; docs/api.md shows requests.
"""
_REQUEST = (401, 403, 404, 422, 429, 503)
_Responses = dict[int | str, dict[str, Any]]


def answered(
    model: type[BaseModel] | None,
    *,
    status: int = 200,
    errors: tuple[int, ...] = _REQUEST,
    more: _Responses | None = None,
) -> dict[str, Any]:
    """Return the arguments of a route that describe its answers: a model, errors, and what more."""
    responses: _Responses = {code: _problem(code) for code in errors}
    found = responses[status] = {"description": "The answer.", "content": {}}
    if model is not None:
        found["model"] = model
    for code, described in (more or {}).items():
        before = responses.get(code, {})
        content = {**before.get("content", {}), **described.get("content", {})}
        responses[code] = {**before, **described, "content": content}
    return {"status_code": status, "responses": responses}


# What a caller has already, by If-None-Match.
NOT_MODIFIED: _Responses = {304: {"description": "The answer is still what its ETag says."}}


def describe(app: FastAPI) -> None:
    """Have the application describe itself under /openapi.json."""

    def description() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(title=app.title, version=app.version, description=_DESCRIPTION, routes=app.routes)
            schemas = schema.setdefault("components", {}).setdefault("schemas", {})
            problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas |= problem.pop("$defs")
            schemas["Problem"] = problem
            _add_examples(schema["paths"])
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = description  # type: ignore[method-assign]  # as FastAPI's documentation has it


def _add_examples(paths: dict[str, Any]) -> None:
    """Give every answer of a known form its example: FastAPI would leave out of one what is null in it."""
    for operation in (operation for methods in paths.values() for operation in methods.values()):
        for status, response in operation["responses"].items():
            content = response.get("content", {}).get("application/json", {})
            form = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
            if status.startswith("2") and form in EXAMPLES:
                content["example"] = EXAMPLES[form]


def _problem(status: int) -> dict[str, Any]:
    example = {"type": "about:blank", "title": TITLES[status], "status": status, "detail": "...", "requestId": "4f77"}
    return {
        "description": TITLES[status],
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "example": example}},
    }
