-- Before which instant raw events have once been seen to be gone. A late event may create a dropped
-- chunk anew, and then the chunks alone would no longer tell. To be deleted by hand after the events
-- have been restored from a backup.
CREATE TABLE IF NOT EXISTS analytics_retention_horizon (
    singleton   boolean     PRIMARY KEY DEFAULT true CHECK (singleton),
    events_from timestamptz NOT NULL,
    seen_at     timestamptz NOT NULL DEFAULT now()
);

COMMENT ON TABLE analytics_retention_horizon IS
    'One row at most: raw events before events_from have expired, aggregates there must not be refreshed.';
