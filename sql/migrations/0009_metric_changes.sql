-- What the figures stand on besides the aggregates, and how a change of it is noticed.

-- Which event time a table made from events covers. Events outside of it are read as they are, so
-- that figures of the open day, or of a day nobody has closed, are right too.
CREATE TABLE IF NOT EXISTS analytics_closed_windows (
    relation text         PRIMARY KEY,
    windows  tstzmultirange NOT NULL DEFAULT '{}'
);

COMMENT ON TABLE analytics_closed_windows IS
    'Event time that analytics_users and analytics_subscriptions have taken in: half-open ranges, UTC.';

-- A balance of today stands on every event before it, and on the rates: a change of those is written
-- down here, in its own transaction, and metric partitions that have not seen it are computed again.
CREATE TABLE IF NOT EXISTS analytics_metric_changes (
    change_id     bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- NULL: figures of every company.
    company_id    text,
    changed_from  timestamptz NOT NULL,
    -- NULL: every period after changed_from.
    changed_until timestamptz,
    -- Which partitions may have changed: those of days, of months, NULL: both.
    granularity   text        CHECK (granularity IN ('day', 'month')),
    -- Which metrics may have changed; NULL: all.
    metrics       text[],
    cause         text        NOT NULL,
    recorded_at   timestamptz NOT NULL DEFAULT now()
);

COMMENT ON TABLE analytics_metric_changes IS
    'Changes of users, subscriptions and rates that closed metric partitions have not seen yet.';
