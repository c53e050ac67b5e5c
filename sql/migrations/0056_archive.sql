-- That this database has an archive: from then on no policy of the engine drops events, and what drops them proves
-- before that the archive holds them. Its row is made once and never removed.
CREATE TABLE IF NOT EXISTS analytics_archive (
    singleton     boolean     PRIMARY KEY DEFAULT true CHECK (singleton),
    -- Where it was when it was last written to, without credentials, and the id of its Delta table.
    location      text        NOT NULL,
    table_id      uuid,
    begun_at      timestamptz NOT NULL DEFAULT now(),
    -- Before it events were gone when the archive was begun; NULL: none were.
    complete_from timestamptz
);

COMMENT ON TABLE analytics_archive IS
    'One row at most: the archive that events are kept in before they are dropped (docs/archive.md).';

-- Half-open ranges of events, as a rule those of chunks, and what the archive was proved to hold of each.
CREATE TABLE IF NOT EXISTS analytics_archive_ranges (
    range_start      timestamptz PRIMARY KEY,
    range_end        timestamptz NOT NULL,
    -- What was read back: rows, and the sum of a hash of each over these columns. NULL: nothing is proved yet.
    columns          text[],
    rows             bigint,
    checksum         numeric,
    version          bigint,
    proven_at        timestamptz,
    -- What is being written, and how much of it comes late: what a killed process leaves is known by it.
    writing_columns  text[],
    writing_rows     bigint,
    writing_checksum numeric,
    writing_late     bigint,
    -- Whether the database holds all that the archive holds of it: only then may it be written anew from there.
    is_whole         boolean     NOT NULL DEFAULT true,
    dropped_at       timestamptz,
    -- Events that came in after theirs had been dropped, and are in the archive.
    late_rows        bigint      NOT NULL DEFAULT 0,
    late_at          timestamptz,
    CHECK (range_start < range_end),
    CHECK ((proven_at IS NULL) = (rows IS NULL)),
    EXCLUDE USING gist (tstzrange(range_start, range_end) WITH &&)
);

COMMENT ON TABLE analytics_archive_ranges IS
    'What the archive was proved to hold of each range of events, and whether the database still holds it.';

-- Whole months whose events were brought back: they can be closed again, and are not dropped before they are released.
CREATE TABLE IF NOT EXISTS analytics_archive_holds (
    hold_start   timestamptz NOT NULL,
    hold_end     timestamptz NOT NULL,
    -- What is brought back: some days more, because figures of a day need the day before, and local days begin and end
    -- at other hours than those by UTC.
    events_start timestamptz NOT NULL,
    events_end   timestamptz NOT NULL,
    asked_at     timestamptz NOT NULL DEFAULT now(),
    -- When all of their events were back; NULL: not yet.
    restored_at  timestamptz,
    PRIMARY KEY (hold_start, hold_end),
    CHECK (hold_start < hold_end AND events_start <= hold_start AND hold_end <= events_end)
);

COMMENT ON TABLE analytics_archive_holds IS
    'Months that were brought back from the archive, until they are released.';
