-- What a person has set stays as it is set, whatever a source of the ERP says of the company.
ALTER TABLE analytics_companies ADD COLUMN IF NOT EXISTS by_hand text[] NOT NULL DEFAULT '{}';

COMMENT ON COLUMN analytics_companies.by_hand IS
    'Names of the columns that a person has set: sources of the ERP leave them as they are.';

-- Readers see the companies that they may see the figures of (row_security.sql).
ALTER TABLE analytics_companies ENABLE ROW LEVEL SECURITY;
ALTER TABLE analytics_companies FORCE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS pipeline ON analytics_companies;
CREATE POLICY pipeline ON analytics_companies TO CURRENT_USER USING (true) WITH CHECK (true);

-- Answers about a company, and those over all, change with its row.
CREATE OR REPLACE TRIGGER analytics_data_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON analytics_companies
    FOR EACH STATEMENT EXECUTE FUNCTION analytics_note_data_change();

-- PostgreSQL takes what it can read as an offset for a zone, too (Europe/Berlin2), and a zone that it can't read would
-- fail every figure over all companies. Once a statement: the list takes some milliseconds.
CREATE OR REPLACE FUNCTION analytics_require_time_zones()
RETURNS trigger
LANGUAGE plpgsql
AS $$
DECLARE
    unknown text;
BEGIN
    SELECT c.time_zone INTO unknown
    FROM (SELECT DISTINCT a.time_zone FROM analytics_companies AS a WHERE a.time_zone <> 'UTC') AS c
    WHERE NOT EXISTS (SELECT FROM analytics_time_zones() AS z WHERE z.time_zone = c.time_zone)
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'analytics_companies: % is no time zone that this server has data of', quote_literal(unknown)
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Give a name of IANA such as Europe/Berlin.';
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION analytics_require_time_zones IS
    'Refuses a time zone of a company that this server has no data of.';

CREATE OR REPLACE TRIGGER analytics_companies_time_zones
AFTER INSERT OR UPDATE ON analytics_companies
FOR EACH STATEMENT EXECUTE FUNCTION analytics_require_time_zones();
