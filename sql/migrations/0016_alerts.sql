-- Threshold rules over the metric tables, every version of them, and what fired.
CREATE TABLE IF NOT EXISTS analytics_alert_rules (
    rule_id    text        NOT NULL,
    revision   integer     NOT NULL,
    -- The rule as it stands in the file, with what it leaves out: docs/alerts.md.
    definition jsonb       NOT NULL,
    sha256     text        NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    loaded_at  timestamptz NOT NULL DEFAULT now(),
    -- When a newer revision took its place, or the rule was gone from the file.
    retired_at timestamptz,
    active     boolean     NOT NULL GENERATED ALWAYS AS (retired_at IS NULL) STORED,
    PRIMARY KEY (rule_id, revision)
);

CREATE UNIQUE INDEX IF NOT EXISTS analytics_alert_rules_active_key
    ON analytics_alert_rules (rule_id) WHERE retired_at IS NULL;

COMMENT ON TABLE analytics_alert_rules IS
    'Threshold rules, one row per version that was ever loaded; the active ones are judged.';

CREATE TABLE IF NOT EXISTS analytics_alerts (
    alert_id     bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rule_id      text        NOT NULL,
    -- By which the alert was judged last.
    revision     integer     NOT NULL,
    -- NULL: all companies together.
    company_id   text,
    granularity  text        NOT NULL CHECK (granularity IN ('day', 'month')),
    -- Which of the two it is: the threshold is crossed, or there is nothing to hold against it.
    condition    text        NOT NULL CHECK (condition IN ('firing', 'no_data')),
    severity     text        NOT NULL CHECK (severity IN ('warning', 'error')),
    -- Starts of the first and of the last period it was found in.
    first_period timestamptz NOT NULL,
    last_period  timestamptz NOT NULL CHECK (last_period >= first_period),
    -- Of the last period: the figure, NULL without one; the same in words; what it is held against, in words.
    value        numeric,
    shown        text        NOT NULL,
    threshold    text        NOT NULL,
    opened_at    timestamptz NOT NULL DEFAULT now(),
    resolved_at  timestamptz,
    resolution   text        CHECK (resolution IN ('recovered', 'corrected', 'rule changed', 'rule removed')),
    -- When the messages were put into the outbox; NULL: nobody was told.
    told_at      timestamptz,
    end_told_at  timestamptz,
    state        text        NOT NULL
        GENERATED ALWAYS AS (CASE WHEN resolved_at IS NULL THEN condition ELSE 'resolved' END) STORED,
    FOREIGN KEY (rule_id, revision) REFERENCES analytics_alert_rules (rule_id, revision),
    CHECK ((resolved_at IS NULL) = (resolution IS NULL)),
    CHECK (end_told_at IS NULL OR (told_at IS NOT NULL AND resolved_at IS NOT NULL))
);

-- What goes on is one alert, whoever notices it, and however many at once.
CREATE UNIQUE INDEX IF NOT EXISTS analytics_alerts_open_key
    ON analytics_alerts (rule_id, company_id, condition) NULLS NOT DISTINCT WHERE resolved_at IS NULL;

CREATE INDEX IF NOT EXISTS analytics_alerts_period_idx ON analytics_alerts (first_period, last_period);

COMMENT ON TABLE analytics_alerts IS
    'Alerts of threshold rules, one row from its first period to its end: what fired for whom, and who was told.';
