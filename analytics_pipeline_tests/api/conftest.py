"""One served history for all tests of the API: the headline scenario as ``acme``, another company, and their tokens."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from analytics_pipeline.api.app import create_app
from analytics_pipeline.api.scopes import Scope
from analytics_pipeline.api.tokens import create_token
from analytics_pipeline_tests.conftest import Database, migrated_database
from analytics_pipeline_tests.events.sample_records import json_lines
from analytics_pipeline_tests.metrics.closing import close, days
from analytics_pipeline_tests.metrics.scenarios import SCENARIOS, payment

HEADLINE = SCENARIOS[0]
OTHER = "zeta"
# A company that has a token and no event of its own: tests may send what they like.
ANYBODY = "anybody"
ALL_SCOPES = tuple(Scope)


@dataclass(frozen=True)
class Served:
    """A running application over a database, and tokens by whom they are for."""

    database: Database
    client: TestClient
    tokens: dict[str, str]

    def headers(self, whose: str = HEADLINE.company) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.tokens[whose]}"}


def new_token(
    database: Database, company: str | None, *scopes: Scope, valid_for: timedelta = timedelta(days=1)
) -> tuple[str, str]:
    """Make a token and return its id and the token."""
    with database.connect(autocommit=True) as connection:
        return create_token(connection, "test", company, scopes or ALL_SCOPES, valid_for)


@pytest.fixture(scope="package")
def served(embedded_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Events came in over the API itself, and were closed; tests add nothing to the two companies, nor before April."""
    with migrated_database(embedded_home, tmp_path_factory.mktemp("api")) as database:
        tokens = {company: new_token(database, company)[1] for company in (HEADLINE.company, OTHER, ANYBODY)}
        tokens["operator"] = new_token(database, None)[1]
        app = create_app(database.settings.model_copy(update={"api_rate": 0.0}))
        with TestClient(app, raise_server_exceptions=False) as client:
            served = Served(database, client, tokens)
            for company, events in ((HEADLINE.company, HEADLINE.events), (OTHER, [payment("03-15", "777.77")])):
                response = client.post(
                    "/analytics/events",
                    content=json_lines(events),
                    headers={**served.headers(company), "Content-Type": "application/x-ndjson"},
                )
                assert response.json()["stored"] == len(events), response.text
            with database.connect(autocommit=True) as connection:
                close(connection, days("2025-12-01", "2026-03-31"))
            yield served
