-- Records that contradict a stored event of their own company: the same event_id and timestamp, and something else
-- in another column. What was stored and what was sent are kept side by side until somebody decides.
CREATE TABLE IF NOT EXISTS analytics_event_conflicts (
    event_id    uuid        NOT NULL,
    "timestamp" timestamptz NOT NULL,
    company_id  text        NOT NULL,
    -- The whole event before, and as the record has it.
    stored      jsonb       NOT NULL,
    sent        jsonb       NOT NULL,
    -- Where the record came from: a file with its line, or a command.
    source      text        NOT NULL,
    line_number bigint,
    found_at    timestamptz NOT NULL DEFAULT now(),
    -- open: the stored event stays, nobody has decided; kept: somebody has decided that it stays;
    -- replaced: what was sent took its place, or a later record of the same batch did.
    outcome     text        NOT NULL DEFAULT 'open' CHECK (outcome IN ('open', 'kept', 'replaced')),
    decided_at  timestamptz,
    CHECK ((outcome = 'open') = (decided_at IS NULL))
);

-- A record sent again, or an ingestion repeated after a kill, contradicts the same event in the same way: once.
-- By meaning, as jsonb compares: 12.0 and 12.00 are one number, and their texts are two.
CREATE UNIQUE INDEX IF NOT EXISTS analytics_event_conflicts_key
    ON analytics_event_conflicts (event_id, "timestamp", jsonb_hash_extended(stored, 0), jsonb_hash_extended(sent, 0));

CREATE INDEX IF NOT EXISTS analytics_event_conflicts_open_idx
    ON analytics_event_conflicts (found_at) WHERE outcome = 'open';

COMMENT ON TABLE analytics_event_conflicts IS
    'Events that a later record of their company contradicts, and what became of it: stored and sent, side by side.';
