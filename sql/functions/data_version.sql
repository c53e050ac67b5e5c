-- A text that differs after every transaction that changes what answers are made of, for whoever keeps an answer.

CREATE OR REPLACE FUNCTION analytics_data_version()
RETURNS text
LANGUAGE sql STABLE
AS $$
    SELECT concat_ws(
        '.',
        (SELECT coalesce(sum(v.version), 0) FROM analytics_data_versions AS v),
        -- Refreshes by the engine's own policies change no table of ours.
        (
            SELECT extract(epoch FROM max(s.last_successful_finish))
            FROM timescaledb_information.jobs AS j
            JOIN timescaledb_information.job_stats AS s USING (job_id)
            WHERE j.proc_name = 'policy_refresh_continuous_aggregate' AND j.scheduled
              AND s.last_successful_finish > '-infinity'
        )
    )
$$;

COMMENT ON FUNCTION analytics_data_version IS
    'Differs after every transaction that changes events, rates, or what figures stand on.';

-- Each transaction takes a row that no other one holds: nobody waits, and whoever sees the changes sees the sum rise.
CREATE OR REPLACE FUNCTION analytics_note_data_change()
RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    -- A row that was changed since the snapshot of a stricter transaction began would end that transaction.
    IF current_setting('transaction_isolation') = 'read committed' THEN
        UPDATE analytics_data_versions AS v SET version = v.version + 1
        WHERE v.slot = (
            SELECT f.slot FROM analytics_data_versions AS f ORDER BY f.slot LIMIT 1 FOR UPDATE SKIP LOCKED
        );
        IF FOUND THEN
            RETURN NULL;
        END IF;
    END IF;
    INSERT INTO analytics_data_versions (version) VALUES (1);
    RETURN NULL;
END
$$;

-- Whoever changes a table counts it as the owner, and finds our table whatever the search path of the session is.
DO $$
BEGIN
    EXECUTE format(
        'ALTER FUNCTION analytics_note_data_change() SECURITY DEFINER SET search_path = pg_catalog, %I, pg_temp',
        current_schema()
    );
END
$$;

COMMENT ON FUNCTION analytics_note_data_change IS
    'Raises analytics_data_version(), once for each statement that changes a table.';
