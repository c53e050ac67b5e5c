"""One served database for the tests of this package: each takes companies of its own."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from analytics_pipeline_tests.conftest import migrated_database
from analytics_pipeline_tests.dashboard.serving import Served, serving

_numbers = count(1)


@pytest.fixture(scope="package")
def served(embedded_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with (
        migrated_database(embedded_home, tmp_path_factory.mktemp("dashboard")) as database,
        serving(database) as served,
    ):
        yield served


@pytest.fixture
def company(served: Served) -> str:
    """A company that has been paid 100 EUR today, and nothing else."""
    name = f"company-{next(_numbers)}"
    served.pay(name, "100.00")
    return name
