-- How many users were first seen, deleted and seen again on each day: what they add up to before an instant is how many
-- users there were, without a look at each of them. Triggers keep it, whoever changes the tables it counts.
CREATE TABLE IF NOT EXISTS analytics_user_days (
    company_id text        NOT NULL,
    day        timestamptz NOT NULL,
    first_seen bigint      NOT NULL,
    deleted    bigint      NOT NULL,
    returned   bigint      NOT NULL,
    PRIMARY KEY (company_id, day)
);

COMMENT ON TABLE analytics_user_days IS
    'Users first seen, deleted (unless they were) and back again on each UTC day, counted from analytics_users and '
    'analytics_user_deletions.';

CREATE INDEX IF NOT EXISTS analytics_user_deletions_deleted_at_idx ON analytics_user_deletions (deleted_at);
CREATE INDEX IF NOT EXISTS analytics_user_deletions_returned_at_idx ON analytics_user_deletions (returned_at);

CREATE OR REPLACE FUNCTION analytics_count_first_seen()
RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO analytics_user_days AS c (company_id, day, first_seen, deleted, returned)
        SELECT n.company_id, date_trunc('day', n.first_seen, 'UTC'), count(*), 0, 0 FROM new_rows AS n GROUP BY 1, 2
        ON CONFLICT (company_id, day) DO UPDATE SET first_seen = c.first_seen + excluded.first_seen;
    END IF;
    IF TG_OP <> 'INSERT' THEN
        UPDATE analytics_user_days AS c
        SET first_seen = c.first_seen - o.users
        FROM (
            SELECT r.company_id, date_trunc('day', r.first_seen, 'UTC') AS day, count(*) AS users
            FROM old_rows AS r
            GROUP BY 1, 2
        ) AS o
        WHERE c.company_id = o.company_id AND c.day = o.day;
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION analytics_count_first_seen IS
    'Counts what a statement changes of analytics_users in analytics_user_days.';

-- A user who is deleted again while deleted is deleted once: of the deletions with one return the first one counts. So
-- what a statement changes is told by all deletions of the users it touches, as they are and as they were before it
-- (a statement that inserts and updates at once would be counted wrongly: there is none).
CREATE OR REPLACE FUNCTION analytics_count_deletions()
RETURNS trigger
LANGUAGE plpgsql
AS $$
DECLARE
    before analytics_user_deletions[];
    after analytics_user_deletions[];
BEGIN
    IF TG_OP <> 'INSERT' THEN
        before := ARRAY(SELECT o::analytics_user_deletions FROM old_rows AS o);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        after := ARRAY(SELECT n::analytics_user_deletions FROM new_rows AS n);
    END IF;
    INSERT INTO analytics_user_days AS c (company_id, day, first_seen, deleted, returned)
    WITH touched AS (
        SELECT DISTINCT t.company_id, t.user_id FROM unnest(before || after) AS t
    ),
    standing AS MATERIALIZED (
        SELECT d.*
        FROM touched AS t
        JOIN analytics_user_deletions AS d ON d.company_id = t.company_id AND d.user_id = t.user_id
    ),
    version AS (
        SELECT 1 AS counts, s.* FROM standing AS s
        UNION ALL
        SELECT -1, s.*
        FROM standing AS s
        WHERE NOT EXISTS (
            SELECT FROM unnest(after) AS a
            WHERE a.company_id = s.company_id AND a.user_id = s.user_id AND a.deleted_at = s.deleted_at
        )
        UNION ALL
        SELECT -1, b.* FROM unnest(before) AS b
    ),
    absence AS (
        SELECT v.company_id, v.counts, min(v.deleted_at) AS deleted_at, v.returned_at
        FROM version AS v
        GROUP BY v.company_id, v.user_id, v.counts, v.returned_at
    )
    SELECT s.company_id, date_trunc('day', s.instant, 'UTC'), 0, sum(s.deleted), sum(s.returned)
    FROM (
        SELECT a.company_id, a.deleted_at AS instant, a.counts AS deleted, 0 AS returned FROM absence AS a
        UNION ALL
        SELECT a.company_id, a.returned_at, 0, a.counts FROM absence AS a WHERE a.returned_at IS NOT NULL
    ) AS s
    GROUP BY 1, 2
    HAVING sum(s.deleted) <> 0 OR sum(s.returned) <> 0
    ON CONFLICT (company_id, day) DO UPDATE
        SET deleted = c.deleted + excluded.deleted, returned = c.returned + excluded.returned;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION analytics_count_deletions IS
    'Counts what a statement changes of analytics_user_deletions in analytics_user_days.';

-- A trigger that names the rows of its statement is of one kind of statement.
CREATE OR REPLACE TRIGGER analytics_users_inserted AFTER INSERT ON analytics_users
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION analytics_count_first_seen();
CREATE OR REPLACE TRIGGER analytics_users_updated AFTER UPDATE ON analytics_users
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION analytics_count_first_seen();
CREATE OR REPLACE TRIGGER analytics_users_deleted AFTER DELETE ON analytics_users
    REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION analytics_count_first_seen();
CREATE OR REPLACE TRIGGER analytics_user_deletions_inserted AFTER INSERT ON analytics_user_deletions
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION analytics_count_deletions();
CREATE OR REPLACE TRIGGER analytics_user_deletions_updated AFTER UPDATE ON analytics_user_deletions
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION analytics_count_deletions();
CREATE OR REPLACE TRIGGER analytics_user_deletions_deleted AFTER DELETE ON analytics_user_deletions
    REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION analytics_count_deletions();

-- What the tables hold already.
DELETE FROM analytics_user_days;
INSERT INTO analytics_user_days (company_id, day, first_seen, deleted, returned)
SELECT c.company_id, date_trunc('day', c.instant, 'UTC'), sum(c.first_seen), sum(c.deleted), sum(c.returned)
FROM (
    SELECT u.company_id, u.first_seen AS instant, 1 AS first_seen, 0 AS deleted, 0 AS returned
    FROM analytics_users AS u
    UNION ALL
    SELECT a.company_id, v.instant, 0, v.deleted, v.returned
    FROM (
        SELECT d.company_id, min(d.deleted_at) AS deleted_at, d.returned_at
        FROM analytics_user_deletions AS d
        GROUP BY d.company_id, d.user_id, d.returned_at
    ) AS a
    CROSS JOIN LATERAL (VALUES (a.deleted_at, 1, 0), (a.returned_at, 0, 1)) AS v (instant, deleted, returned)
    WHERE v.instant IS NOT NULL
) AS c
GROUP BY 1, 2;

-- How many of those active before have churned stood in their rate alone. Closed periods get it when they are closed
-- again, which this asks for; those whose events have expired keep what they have.
DO $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM information_schema.columns
        WHERE table_schema = current_schema() AND table_name = 'analytics_user_metrics'
          AND column_name = 'churned_of_start'
    ) THEN
        ALTER TABLE analytics_user_metrics ADD COLUMN churned_of_start bigint;
        INSERT INTO analytics_metric_changes (company_id, changed_from, changed_until, metrics, cause)
        SELECT NULL, min(m.period_start), NULL, ARRAY['user_metrics'], 'churned_of_start is stored'
        FROM analytics_metric_periods AS m
        WHERE m.metric = 'user_metrics'
        HAVING count(*) > 0;
    END IF;
END
$$;

COMMENT ON COLUMN analytics_user_metrics.churned_of_start IS
    'Of active_before those that have churned; null: not computed again since the column is there.';

-- Replaced by functions of sets of periods, or by one that returns more.
DROP FUNCTION IF EXISTS analytics_known_users(text, timestamptz);
DROP FUNCTION IF EXISTS analytics_known_user_deletions(text, timestamptz);
DROP FUNCTION IF EXISTS analytics_deleted_users(text, timestamptz, timestamptz);
DROP FUNCTION IF EXISTS analytics_active_user_set(text, timestamptz, timestamptz);
DROP FUNCTION IF EXISTS analytics_active_users(text, timestamptz, timestamptz);
DROP FUNCTION IF EXISTS analytics_new_users(text, timestamptz, timestamptz);
DROP FUNCTION IF EXISTS analytics_user_metrics(text, timestamptz, timestamptz);
DROP FUNCTION IF EXISTS analytics_user_metrics_by_company(text, timestamptz, timestamptz);
DROP FUNCTION IF EXISTS analytics_user_metrics_rows(text, timestamptz, timestamptz, text, integer);
DROP FUNCTION IF EXISTS analytics_users_are_kept(timestamptz, timestamptz);
