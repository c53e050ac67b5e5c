-- Reports that programs and people ask for by inserting a row; the sensor report_requests has them made.
CREATE TABLE IF NOT EXISTS analytics_report_requests (
    request_id   bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- NULL: all companies together.
    company_id   text,
    -- First and last day, UTC.
    start_date   date        NOT NULL,
    end_date     date        NOT NULL,
    -- Empty: every section.
    sections     text[]      NOT NULL DEFAULT '{}',
    format       text        NOT NULL DEFAULT 'pdf',
    -- NULL: the reporting currency of the settings.
    currency     text,
    locale       text        NOT NULL DEFAULT 'en_GB',
    page_size    text        NOT NULL DEFAULT 'A4',
    requested_by text,
    requested_at timestamptz NOT NULL DEFAULT now(),
    state        text        NOT NULL DEFAULT 'requested'
        CHECK (state IN ('requested', 'running', 'done', 'failed')),
    -- Dagster's run that makes or made it.
    run_id       text,
    started_at   timestamptz,
    finished_at  timestamptz,
    uri          text,
    -- NULL: the format has no pages.
    pages        integer,
    size         bigint,
    sha256       text,
    -- Why it failed, and what to do about it.
    problem      text,
    CHECK (state <> 'running' OR run_id IS NOT NULL),
    CHECK (state <> 'done' OR num_nulls(uri, size, sha256, finished_at) = 0),
    CHECK ((state = 'failed') = (problem IS NOT NULL))
);

CREATE INDEX IF NOT EXISTS analytics_report_requests_open_idx
    ON analytics_report_requests (request_id) WHERE state IN ('requested', 'running');

-- What was turned away in a month is counted by the month's reports.
CREATE INDEX IF NOT EXISTS analytics_ingest_rejects_rejected_at_idx ON analytics_ingest_rejects (rejected_at);

COMMENT ON TABLE analytics_report_requests IS
    'Reports asked for and what became of them: where the document is, or why there is none (docs/reports.md).';
