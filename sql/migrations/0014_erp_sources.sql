-- What has been read from the ERP's own tables: how far, what it gave, what could not be an event.

CREATE TABLE IF NOT EXISTS analytics_source_cursors (
    source            text        PRIMARY KEY,
    -- Rows of the ERP whose cursor_at is before this are in. NULL: nothing has been read yet.
    cursor_at         timestamptz,
    -- The next pass reads from so long before it.
    overlap           interval    NOT NULL,
    -- A pass that is under way, or was cut short: it reads to pass_until, and goes on after the row
    -- (position_at, position_key). Rows committed while it reads are not before pass_safe.
    pass_until        timestamptz,
    pass_safe         timestamptz,
    pass_newest       timestamptz,
    position_at       timestamptz,
    position_key      text,
    -- When the ERP's running transactions were last looked at (its clock), and since when each may run.
    looked_at         timestamptz,
    open_transactions jsonb       NOT NULL DEFAULT '{}',
    -- The last pass that came to its end: to where, how many rows lay after the cursor less the overlap,
    -- and the newest of them. Another count or another newest row means that there is something to read.
    complete_until    timestamptz,
    window_rows       bigint,
    window_newest     timestamptz,
    -- Counts runs: the newest one writes, an older one that is still at work stops.
    attempt           bigint      NOT NULL DEFAULT 0,
    started_at        timestamptz,
    finished_at       timestamptz,
    -- Runs in a row that did not come to their end.
    failures          integer     NOT NULL DEFAULT 0,
    last_error        text,
    last_read         bigint      NOT NULL DEFAULT 0,
    last_new          bigint      NOT NULL DEFAULT 0,
    last_rejected     bigint      NOT NULL DEFAULT 0,
    total_new         bigint      NOT NULL DEFAULT 0
);

COMMENT ON TABLE analytics_source_cursors IS
    'One row per source of the ERP: how far it has been read, and how the last run went.';

-- Which rows of the ERP are events. The hypertable can't tell cheaply: its key has the time in it, so an id at
-- another time would have to be looked for in every chunk; and raw events expire.
CREATE TABLE IF NOT EXISTS analytics_source_events (
    event_id    uuid        PRIMARY KEY,
    "timestamp" timestamptz NOT NULL,
    -- A digest of all the other fields.
    content     uuid        NOT NULL
);

COMMENT ON TABLE analytics_source_events IS
    'Events recorded from the ERP, by the id that is derived from source and key: their time and a digest.';

CREATE TABLE IF NOT EXISTS analytics_source_rejects (
    source      text        NOT NULL,
    source_key  text        NOT NULL,
    reason      text        NOT NULL,
    -- The row as it was read, every field as text.
    row         jsonb       NOT NULL,
    first_seen  timestamptz NOT NULL DEFAULT now(),
    last_seen   timestamptz NOT NULL DEFAULT now(),
    -- A row dated ahead is recorded by itself then.
    retry_at    timestamptz,
    resolved_at timestamptz,
    PRIMARY KEY (source, source_key)
);

CREATE INDEX IF NOT EXISTS analytics_source_rejects_open_idx
    ON analytics_source_rejects (source, first_seen) WHERE resolved_at IS NULL;

COMMENT ON TABLE analytics_source_rejects IS
    'Rows of the ERP that are not events, with the reason; resolved_at is set when the row is accepted later.';
