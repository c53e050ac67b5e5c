-- Every deletion of a user, and when the user was seen again after it: whoever comes back is a user again. Kept
-- beside the events because it must outlive their retention, as analytics_users does.
CREATE TABLE IF NOT EXISTS analytics_user_deletions (
    company_id  text        NOT NULL,
    user_id     text        NOT NULL,
    deleted_at  timestamptz NOT NULL,
    -- NULL: not seen again.
    returned_at timestamptz,
    PRIMARY KEY (company_id, user_id, deleted_at),
    CONSTRAINT analytics_user_deletions_return_after_it CHECK (returned_at > deleted_at)
);

COMMENT ON TABLE analytics_user_deletions IS
    'One row per deletion of a user, with the first other event after it (event time, UTC).';

-- What is known of the first deletion of each user moves there, with every deletion and return that the events of
-- closed windows hold. What the events of open windows hold is read from the events.
DO $$
BEGIN
    IF EXISTS (
        SELECT FROM information_schema.columns
        WHERE table_schema = current_schema() AND table_name = 'analytics_users' AND column_name = 'deleted_at'
    ) THEN
        INSERT INTO analytics_user_deletions (company_id, user_id, deleted_at, returned_at)
        WITH closed AS (
            SELECT lower(r) AS from_time, upper(r) AS to_time
            FROM analytics_closed_windows AS c, unnest(c.windows) AS r
            WHERE c.relation = 'analytics_users'
        ),
        deletion AS (
            SELECT u.company_id, u.user_id, u.deleted_at FROM analytics_users AS u WHERE u.deleted_at IS NOT NULL
            UNION
            SELECT e.company_id, e.user_id, e."timestamp"
            FROM analytics_events AS e
            JOIN closed AS c ON e."timestamp" >= c.from_time AND e."timestamp" < c.to_time
            WHERE e.event_type = 'user.deleted' AND e.user_id IS NOT NULL
        )
        SELECT d.company_id, d.user_id, d.deleted_at, min(s.seen_at)
        FROM deletion AS d
        LEFT JOIN (
            SELECT e.company_id, e.user_id, e."timestamp" AS seen_at
            FROM analytics_events AS e
            JOIN closed AS c ON e."timestamp" >= c.from_time AND e."timestamp" < c.to_time
            WHERE e.event_type <> 'user.deleted'
        ) AS s ON s.company_id = d.company_id AND s.user_id = d.user_id AND s.seen_at > d.deleted_at
        GROUP BY d.company_id, d.user_id, d.deleted_at;
        ALTER TABLE analytics_users DROP COLUMN deleted_at;
    END IF;
END
$$;

COMMENT ON TABLE analytics_users IS
    'One row per user of a company: the first event of any kind (event time, UTC).';

-- Users active in the period before were called users_at_start by version 1 of the definitions. Of the rows that
-- follow it, who was a user at the start is not known.
DO $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM information_schema.columns
        WHERE table_schema = current_schema() AND table_name = 'analytics_user_metrics'
          AND column_name = 'active_before'
    ) THEN
        ALTER TABLE analytics_user_metrics RENAME COLUMN users_at_start TO active_before;
        ALTER TABLE analytics_user_metrics ADD COLUMN users_at_start bigint;
    END IF;
END
$$;

-- Null where the events that a figure needs have expired before they were taken in.
ALTER TABLE analytics_user_metrics
    ALTER COLUMN active_users DROP NOT NULL,
    ALTER COLUMN new_users DROP NOT NULL,
    ALTER COLUMN churned_users DROP NOT NULL,
    ALTER COLUMN active_before DROP NOT NULL;

-- What these return has changed.
DROP FUNCTION IF EXISTS analytics_known_users(text, timestamptz);
DROP FUNCTION IF EXISTS analytics_user_metrics(text, timestamptz, timestamptz);
DROP FUNCTION IF EXISTS analytics_user_metrics_by_company(text, timestamptz, timestamptz);
DROP FUNCTION IF EXISTS analytics_user_metrics_rows(text, timestamptz, timestamptz, text, integer);
