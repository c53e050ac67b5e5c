"""Everything that a migration makes, as lines that can be compared: from the catalog, whatever it was made by."""

import re

from analytics_pipeline.timescale.connection import Connection

_OURS = (
    "n.nspname IN ('public', 'analytics_api') "
    "AND NOT EXISTS (SELECT FROM pg_depend AS x WHERE x.deptype = 'e' AND x.objid ="
)
_QUERIES = {
    "relation": f"""
        SELECT c.oid::regclass, c.relkind, c.reloptions, c.relrowsecurity, c.relforcerowsecurity, c.relacl::text,
               obj_description(c.oid, 'pg_class'),
               CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END
        FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'i') AND {_OURS} c.oid)""",
    "column": f"""
        SELECT c.oid::regclass, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
               a.attgenerated, a.attacl::text, pg_get_expr(d.adbin, d.adrelid), col_description(c.oid, a.attnum)
        FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        LEFT JOIN pg_attrdef AS d ON d.adrelid = c.oid AND d.adnum = a.attnum
        WHERE c.relkind IN ('r', 'p', 'v') AND {_OURS} c.oid)""",
    "constraint": f"""
        SELECT k.conrelid::regclass, k.conname, pg_get_constraintdef(k.oid), k.convalidated
        FROM pg_constraint AS k JOIN pg_namespace AS n ON n.oid = k.connamespace
        WHERE k.conrelid <> 0 AND {_OURS} k.oid)""",
    "index": f"""
        SELECT pg_get_indexdef(i.indexrelid), i.indisvalid
        FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE {_OURS} c.oid)""",
    "function": f"""
        SELECT p.oid::regprocedure, md5(pg_get_functiondef(p.oid)), p.proacl::text, obj_description(p.oid, 'pg_proc')
        FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
        WHERE p.prokind IN ('f', 'p') AND {_OURS} p.oid)""",
    "trigger": f"""
        SELECT pg_get_triggerdef(t.oid), t.tgenabled
        FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE NOT t.tgisinternal AND {_OURS} c.oid)""",
    "policy of rows": """
        SELECT polrelid::regclass, polname, polcmd, polpermissive, polroles::regrole[]::text,
               pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)
        FROM pg_policy""",
    "aggregate": """
        SELECT view_name, view_definition, materialized_only, compression_enabled
        FROM timescaledb_information.continuous_aggregates""",
    "dimension": "SELECT hypertable_name, column_name, time_interval FROM timescaledb_information.dimensions "
    "WHERE hypertable_schema = 'public'",
    "job": """
        SELECT hypertable_name, proc_name, schedule_interval, scheduled,
               config - ARRAY['hypertable_id', 'mat_hypertable_id']
        FROM timescaledb_information.jobs WHERE hypertable_name IS NOT NULL""",
    "setting": "SELECT setconfig::text FROM pg_db_role_setting "
    "WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())",
    "policy": "SELECT to_jsonb(p) - 'set_at' - 'client' FROM analytics_policies AS p",
    "migration": "SELECT version, name, sha256 FROM analytics_schema_migrations",
    "part": "SELECT part, sha256 FROM analytics_schema_parts",
}
# TimescaleDB counts what it makes, and what was rolled back, too.
_NUMBERED = re.compile(
    r"(_materialized_hypertable_|_hyper_|_partial_view_|_direct_view_|_compressed_hypertable_|cagg_watermark\()\d+"
)
_WITHOUT_NUMBER = r"\1N"


def schema_of(connection: Connection) -> list[str]:
    """Return the schema of a database, a line for each part of it, in order."""
    lines = [
        f"{kind}: {_NUMBERED.sub(_WITHOUT_NUMBER, repr(row))}"
        for kind, query in _QUERIES.items()
        for row in connection.execute(query.encode()).fetchall()
    ]
    return sorted(lines)
