"""An ERP that still has an erased person's rows does not bring the person back."""

import pytest
from click.testing import CliRunner

from analytics_pipeline.cli import main
from analytics_pipeline.database import connect
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.erasure.crowded import naming
from analytics_pipeline_tests.erp.example import ExampleErp, invoice
from analytics_pipeline_tests.erp.reading import query, read, recorded, rejected

pytestmark = pytest.mark.slow
_AGAIN = "UPDATE analytics_source_cursors SET cursor_at = NULL"


def _change(statement: str) -> None:
    with connect(autocommit=True) as connection:
        connection.execute(statement.encode())


def test_rows_of_an_erased_person_bear_the_pseudonym_and_those_of_an_erased_company_are_left_out(
    erp: ExampleErp, database: Database
) -> None:
    erp.execute(
        "INSERT INTO erp.users (id, company_id, registered_at) VALUES (123456789, 'acme', '2025-01-01T08:00Z')",
        invoice("A-1"),
        invoice("A-2", issued="2025-02-05T10:00Z"),
        "UPDATE erp.invoices SET user_id = 123456789",
        "INSERT INTO erp.logins (user_id, logged_in_at) VALUES (123456789, '2999-01-01Z')",
    )
    assert (read().new, read("logins").rejected) == (2, 1)
    done = CliRunner().invoke(main, ["erase", "--company", "acme", "--user", "123456789", "--yes"])
    assert done.exit_code == 0, done.output
    ((pseudonym,),) = query("SELECT pseudonym FROM analytics_erasures")
    with connect(autocommit=True) as connection:
        assert naming(connection, "123456789", "acme") == []
    # Nobody knows any more what the first one said: it has expired.
    _change("DELETE FROM analytics_events WHERE \"timestamp\" < '2025-02-01' AND event_type = 'invoice.created'")
    for _ in range(2):
        _change(_AGAIN)
        again = read()
        assert (again.new, again.already_there, again.rejected) == (0, 2, 0)
        # Kept under its pseudonym, what is dated ahead is still there.
        assert (read("logins").new, len(rejected())) == (0, 1)
    erp.execute(invoice("A-3", "5"), "UPDATE erp.invoices SET user_id = 123456789")
    # What has changed in a row is still a contradiction that somebody has to decide on.
    erp.execute("UPDATE erp.invoices SET net_amount = 7 WHERE number = 'A-2'")
    later = read()
    assert (later.new, later.rejected) == (1, 1)
    assert {user for (user,) in recorded("user_id") if user != "1"} == {pseudonym}
    with connect(autocommit=True) as connection:
        assert naming(connection, "123456789", "acme") == []

    # Of an erased company nothing is recorded at all, and nothing kept.
    done = CliRunner().invoke(main, ["erase", "--company", "acme", "--yes"])
    assert done.exit_code == 0, done.output
    _change(_AGAIN)
    erp.execute("UPDATE erp.invoices SET currency = 'much' WHERE number = 'A-1'")
    assert (read("companies").new, query("SELECT * FROM analytics_companies")) == (0, [])
    left_out = read()
    assert (left_out.new, left_out.rejected, left_out.not_kept, rejected(), recorded()) == (0, 3, 3, [], [])
