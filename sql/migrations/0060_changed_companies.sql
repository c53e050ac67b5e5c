-- A refresh finds out whose rows it has changed: by what it leaves, the days and months are known that are to be computed
-- again, of these companies and of nobody else.

-- Until a refresh has come to its end, what it may have changed is noted without a company: a process that is killed
-- leaves that.
ALTER TABLE analytics_metric_changes ADD COLUMN IF NOT EXISTS refreshing text;

COMMENT ON COLUMN analytics_metric_changes.refreshing IS
    'The continuous aggregate whose refresh replaces the change by those of the companies it has found.';

ALTER TABLE analytics_changed_hours DROP CONSTRAINT IF EXISTS analytics_changed_hours_pkey;
ALTER TABLE analytics_changed_hours ALTER COLUMN relation DROP NOT NULL;
ALTER TABLE analytics_changed_hours
    -- Null: of whom is not known.
    ADD COLUMN IF NOT EXISTS company_id text,
    ADD COLUMN IF NOT EXISTS refreshing text;
CREATE INDEX IF NOT EXISTS analytics_changed_hours_relation_idx ON analytics_changed_hours (relation);

COMMENT ON TABLE analytics_changed_hours IS
    'When events have changed, and of which company, as far as a continuous aggregate has not been refreshed over it since.';
COMMENT ON COLUMN analytics_changed_hours.relation IS
    'The continuous aggregate; null: all of them.';
COMMENT ON COLUMN analytics_changed_hours.company_id IS
    'The tenant; null: any.';
COMMENT ON COLUMN analytics_changed_hours.hours IS
    'The instants, as exactly as they are known: within an hour (UTC).';
COMMENT ON COLUMN analytics_changed_hours.refreshing IS
    'The continuous aggregate whose refresh replaces the row by those of the companies it has found.';

DROP FUNCTION IF EXISTS analytics_note_refresh(timestamptz, timestamptz, text, text, tstzmultirange, boolean);

-- An event that is changed leaves the number of events as it was, and often every sum: both companies and both instants
-- are noted here. A statement that only inserts, or deletes, calls nothing.
CREATE OR REPLACE FUNCTION analytics_note_changed_rows()
RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM analytics_metric_periods) THEN
        RETURN NULL;
    END IF;
    INSERT INTO analytics_changed_hours (company_id, hours)
    SELECT e.company_id, range_agg(tstzrange(e.first_instant, e.last_instant + interval '1 microsecond'))
    FROM (
        SELECT r.company_id, min(r."timestamp") AS first_instant, max(r."timestamp") AS last_instant
        FROM (
            SELECT o.company_id, o."timestamp" FROM old_rows AS o
            UNION ALL
            SELECT n.company_id, n."timestamp" FROM new_rows AS n
        ) AS r
        GROUP BY r.company_id, date_trunc('hour', r."timestamp", 'UTC')
    ) AS e
    GROUP BY e.company_id;
    RETURN NULL;
END
$$;

-- Whoever may change events notes it as the owner, and finds our tables whatever the search path of the session is.
DO $$
BEGIN
    EXECUTE format(
        'ALTER FUNCTION analytics_note_changed_rows() SECURITY DEFINER SET search_path = pg_catalog, %I, pg_temp',
        current_schema()
    );
END
$$;

COMMENT ON FUNCTION analytics_note_changed_rows IS
    'Notes of which companies events were changed, and when these happened or were to have happened.';

DROP TRIGGER IF EXISTS analytics_note_changed_rows ON analytics_events;
CREATE TRIGGER analytics_note_changed_rows
    AFTER UPDATE ON analytics_events
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION analytics_note_changed_rows();
