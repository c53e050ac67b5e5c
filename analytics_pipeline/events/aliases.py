"""Former names of companies and users: records that still bear one are read as bearing the present name."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.connection import Connection


@dataclass(frozen=True, slots=True)
class Aliases:
    """The present name of each former one: of companies, and of users by the present name of their company."""

    companies: Mapping[str, str] = field(default_factory=dict)
    users: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def company(self, raw: Any) -> Any:
        """Return the present name for a former one, and anything else as it is."""
        return self.companies.get(raw, raw) if self.companies and isinstance(raw, str) else raw

    def user(self, company_id: str, raw: Any) -> Any:
        """Return the present name for a former one of the company's user, and anything else as it is."""
        return self.users.get((company_id, raw), raw) if self.users and isinstance(raw, str) else raw


NO_ALIASES: Final = Aliases()


def load_aliases(connection: Connection) -> Aliases:
    """Return the aliases that the database knows."""
    companies: dict[str, str] = {}
    users: dict[tuple[str, str], str] = {}
    with connection.transaction():
        rows = connection.execute(load_query("id_aliases")).fetchall()
    for company_id, former_user, present in rows:
        if former_user is None:
            companies[company_id] = present
        else:
            users[company_id, former_user] = present
    return Aliases(companies, users)
