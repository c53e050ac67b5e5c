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
    ADD COLUMN IF NOT EXISTS refreshing text,
    ADD COLUMN IF NOT EXISTS by_statement boolean NOT NULL DEFAULT false;
CREATE UNIQUE INDEX IF NOT EXISTS analytics_changed_hours_relation_idx
    ON analytics_changed_hours (relation, company_id, by_statement, refreshing) NULLS NOT DISTINCT
    WHERE relation IS NOT NULL;

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
COMMENT ON COLUMN analytics_changed_hours.by_statement IS
    'Noted by who has changed events: other changes may be beside it. What a refresh has found is all of the hour.';

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
    INSERT INTO analytics_changed_hours (company_id, by_statement, hours)
    SELECT e.company_id, true, range_agg(tstzrange(e.first_instant, e.last_instant + interval '1 microsecond'))
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

-- TimescaleDB allows no transition tables where events are deleted, so of whom they were is not known: with others recorded
-- in their place, numbers and sums may be as they were. What the log holds by then is everybody's (no ends).
CREATE OR REPLACE FUNCTION analytics_note_deleted_rows()
RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    IF current_setting('analytics.deletion_is_noted', true) = 'on' THEN
        -- Who deletes them has noted it: by this statement, and no other.
        PERFORM set_config('analytics.deletion_is_noted', '', true);
        RETURN NULL;
    END IF;
    INSERT INTO analytics_changed_hours (by_statement, hours)
    SELECT true, '{(,)}'
    WHERE EXISTS (SELECT FROM analytics_metric_periods)
      AND NOT EXISTS (SELECT FROM analytics_changed_hours AS h WHERE h.relation IS NULL AND upper_inf(h.hours));
    RETURN NULL;
END
$$;

-- Whoever may change events notes it as the owner, and finds our tables whatever the search path of the session is.
DO $$
DECLARE
    noting text;
BEGIN
    FOREACH noting IN ARRAY ARRAY['analytics_note_changed_rows', 'analytics_note_deleted_rows'] LOOP
        EXECUTE format(
            'ALTER FUNCTION %I() SECURITY DEFINER SET search_path = pg_catalog, %I, pg_temp', noting, current_schema()
        );
    END LOOP;
END
$$;

COMMENT ON FUNCTION analytics_note_changed_rows IS
    'Notes of which companies events were changed, and when these happened or were to have happened.';

COMMENT ON FUNCTION analytics_note_deleted_rows IS
    'Notes that events were deleted, of anybody.';

DROP TRIGGER IF EXISTS analytics_note_changed_rows ON analytics_events;
CREATE TRIGGER analytics_note_changed_rows
    AFTER UPDATE ON analytics_events
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION analytics_note_changed_rows();

DROP TRIGGER IF EXISTS analytics_note_deleted_rows ON analytics_events;
CREATE TRIGGER analytics_note_deleted_rows
    AFTER DELETE ON analytics_events
    FOR EACH STATEMENT EXECUTE FUNCTION analytics_note_deleted_rows();
