"""The example ERP of ``sql/sources/example``, in a database of its own on a PostgreSQL that serves several sessions."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg

from analytics_pipeline.sql_files import load_sql

# Tables, and what all rows of the tests belong to.
EXAMPLE = (
    load_sql("sources/example/erp_schema.sql"),
    "INSERT INTO erp.companies VALUES ('acme', 'Acme')",
    "INSERT INTO erp.users (id, company_id, registered_at) VALUES (1, 'acme', '2025-01-01T08:00Z')",
)


@dataclass(frozen=True)
class ExampleErp:
    """The ERP's database, with one company, acme, and its user 1."""

    url: str

    def connect(self, *, autocommit: bool = True) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(self.url, autocommit=autocommit, prepare_threshold=None)

    def execute(self, *statements: str) -> None:
        with self.connect() as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def reader_url(self) -> str:
        """The URL of a role that may read the tables and nothing else."""
        role = f"reader_{uuid.uuid4().hex[:12]}"
        self.execute(
            f"CREATE ROLE {role} LOGIN PASSWORD 'secret'",
            f"GRANT USAGE ON SCHEMA erp TO {role}",
            f"GRANT SELECT ON ALL TABLES IN SCHEMA erp TO {role}",
        )
        _, _, rest = self.url.partition("@")
        return f"postgresql://{role}:secret@{rest}"


@contextmanager
def example_erp(server_url: str) -> Iterator[ExampleErp]:
    """Make the example ERP on a server, and drop it in the end."""
    name = f"erp_{uuid.uuid4().hex}"
    with psycopg.connect(server_url, autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}"')
    erp = ExampleErp(server_url.replace("/dagster?", f"/{name}?"))
    erp.execute(*EXAMPLE)
    yield erp
    with psycopg.connect(server_url, autocommit=True) as admin:
        admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def invoice(
    number: str, net: str = "100.00", *, issued: str | None = "2025-01-05T10:00Z", currency: str = "EUR"
) -> str:
    """Return the statement that inserts an invoice."""
    issued_at = "NULL" if issued is None else f"'{issued}'"
    return (
        "INSERT INTO erp.invoices (company_id, user_id, number, net_amount, tax_amount, currency, issued_at) "
        f"VALUES ('acme', 1, '{number}', {net}, 19.00, '{currency}', {issued_at})"
    )
