-- Answers to requests with an Idempotency-Key, for a day; and keys under which single documents are opened.
CREATE TABLE IF NOT EXISTS analytics_api_replays (
    caller text NOT NULL,
    key text NOT NULL,
    request_sha256 bytea NOT NULL,
    answer bytea NOT NULL,
    answered_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (caller, key)
);

CREATE INDEX IF NOT EXISTS analytics_api_replays_answered_at_idx ON analytics_api_replays (answered_at);

COMMENT ON TABLE analytics_api_replays IS
    'Answers of the API to requests with an Idempotency-Key, given again where the request is sent again.';

CREATE TABLE IF NOT EXISTS analytics_document_keys (
    key_hash bytea PRIMARY KEY CHECK (length(key_hash) = 32),
    -- A document of the store: its name there, and its revision.
    name text NOT NULL,
    sha256 text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);

CREATE INDEX IF NOT EXISTS analytics_document_keys_expires_at_idx ON analytics_document_keys (expires_at);

COMMENT ON TABLE analytics_document_keys IS
    'Random keys, by their SHA-256, each of which opens one document without a token until it expires.';
