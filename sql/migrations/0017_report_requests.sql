-- Reports that programs and people ask for by inserting a row; the sensor report_requests has them made.
CREATE TABLE IF NOT EXISTS analytics_report_requests (
    request_id   bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- NULL: all companies together.
    company_id   text,
    -- First and last day, UTC.
    start_date   date        NOT NULL,
    end_date     date        NOT NULL,
    -- Empty or NULL: every section.
    sections     text[]      DEFAULT '{}',
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
    -- What no reader of the table could make sense of is refused where it is written.
    CHECK (isfinite(start_date) AND isfinite(end_date) AND start_date <= end_date),
    CHECK (start_date >= '1970-01-01' AND end_date < '2200-01-01'),
    CHECK (array_position(sections, NULL) IS NULL AND coalesce(array_ndims(sections), 1) = 1),
    CHECK (cardinality(sections) <= 50 AND length(array_to_string(sections, ',')) <= 1000),
    CHECK (greatest(length(company_id), length(format), length(currency), length(locale), length(page_size)) <= 200),
    CHECK (state <> 'running' OR run_id IS NOT NULL),
    CHECK (state <> 'done' OR num_nulls(uri, size, sha256, finished_at) = 0),
    CHECK ((state = 'failed') = (problem IS NOT NULL))
);

CREATE INDEX IF NOT EXISTS analytics_report_requests_open_idx
    ON analytics_report_requests (request_id) WHERE state IN ('requested', 'running');

COMMENT ON TABLE analytics_report_requests IS
    'Reports asked for and what became of them: where the document is, or why there is none (docs/reports.md).';
