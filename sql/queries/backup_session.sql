-- For a session that counts everything: texts of values that depend on no setting, and no limit of time. Settings that
-- a version of PostgreSQL lacks are left out. Row-level security is an error rather than rows that are missing, but for
-- the owner of our tables, whose own policy shows every row.
SELECT set_config(s.name, v.value, false)
FROM (VALUES
    ('TimeZone', 'UTC'), ('DateStyle', 'ISO, MDY'), ('IntervalStyle', 'postgres'), ('bytea_output', 'hex'),
    ('extra_float_digits', '1'), ('row_security', %(row_security)s), ('statement_timeout', '0'), ('transaction_timeout', '0'),
    ('idle_in_transaction_session_timeout', '0')
) AS v (name, value)
JOIN pg_settings AS s USING (name)
