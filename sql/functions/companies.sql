-- What is known of companies beside their events (analytics_companies).

CREATE OR REPLACE FUNCTION analytics_company_rows(p_companies text[])
RETURNS TABLE (company_id text, name text, time_zone text, currency text, locale text, is_test boolean)
LANGUAGE sql STABLE
AS $$
    SELECT c.company_id, c.name, c.time_zone, c.currency, c.locale, c.is_test
    FROM analytics_companies AS c
    WHERE p_companies IS NULL OR c.company_id = ANY (p_companies)
$$;

COMMENT ON FUNCTION analytics_company_rows IS
    'The rows of some companies (null: of all), null where the platform''s settings count.';

CREATE OR REPLACE FUNCTION analytics_zone_of(p_company text, p_platform_zone text)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT coalesce((SELECT c.time_zone FROM analytics_companies AS c WHERE c.company_id = p_company), p_platform_zone)
$$;

COMMENT ON FUNCTION analytics_zone_of IS
    'The time zone of a company; of one without a zone, and of all together (null), the platform''s, which is given.';

CREATE OR REPLACE FUNCTION analytics_time_zones()
RETURNS TABLE (time_zone text)
LANGUAGE sql STABLE
AS $$
    -- Beside the names of IANA the server lists what its host is set to, and other readings of the same zones.
    SELECT z.name
    FROM pg_timezone_names AS z
    WHERE z.name !~ '^(posix|right)/' AND z.name NOT IN ('localtime', 'posixrules', 'Factory')
$$;

COMMENT ON FUNCTION analytics_time_zones IS
    'The time zones that this server has data of, by their names of IANA.';

CREATE OR REPLACE FUNCTION analytics_test_companies()
RETURNS text[]
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT ARRAY(SELECT c.company_id FROM analytics_companies AS c WHERE c.is_test)
$$;

COMMENT ON FUNCTION analytics_test_companies IS
    'The companies that figures over all companies leave out.';
