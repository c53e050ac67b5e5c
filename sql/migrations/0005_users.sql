-- Who was first seen when. Kept beside the events because it must outlive their retention.
CREATE TABLE IF NOT EXISTS analytics_users (
    company_id text        NOT NULL,
    user_id    text        NOT NULL,
    first_seen timestamptz NOT NULL,
    deleted_at timestamptz,
    PRIMARY KEY (company_id, user_id)
);

CREATE INDEX IF NOT EXISTS analytics_users_first_seen_idx ON analytics_users (first_seen);

COMMENT ON TABLE analytics_users IS
    'One row per user of a company: first event of any kind, and deletion if there was one (event time, UTC).';
