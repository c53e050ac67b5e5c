-- Months that were signed off: their figures and their documents as they were.

CREATE TABLE IF NOT EXISTS analytics_signoffs (
    signoff_id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- NULL: all companies together. audience says the same without NULL, so that keys can hold it.
    company_id          text,
    -- The month as documents name it, 2026-10, and its half-open window, UTC.
    period              text        NOT NULL CHECK (period ~ '^\d{4}-\d\d$'),
    period_start        timestamptz NOT NULL,
    period_end          timestamptz NOT NULL,
    signed_by           text        NOT NULL CHECK (btrim(signed_by) <> ''),
    signed_at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- When the figures were computed: what has changed since is what may have restated them.
    figures_at          timestamptz NOT NULL,
    -- What the figures follow. Where it is another by now, they differ by definition.
    definitions_version integer     NOT NULL,
    currency            text        NOT NULL,
    -- The document that counted then, which can't be removed as long as the row is there.
    document_id         bigint      NOT NULL,
    document_sha256     text        NOT NULL,
    withdrawn_at        timestamptz,
    withdrawn_by        text        CHECK (btrim(withdrawn_by) <> ''),
    withdrawn_because   text        CHECK (btrim(withdrawn_because) <> ''),
    audience            text        NOT NULL
        GENERATED ALWAYS AS (CASE WHEN company_id IS NULL THEN 'all' ELSE 'company:' || company_id END) STORED,
    CHECK (num_nulls(withdrawn_at, withdrawn_by, withdrawn_because) IN (0, 3)),
    FOREIGN KEY (document_id, document_sha256) REFERENCES analytics_report_documents (document_id, sha256)
);

CREATE UNIQUE INDEX IF NOT EXISTS analytics_signoffs_standing_key
    ON analytics_signoffs (period, audience) WHERE withdrawn_at IS NULL;

COMMENT ON TABLE analytics_signoffs IS
    'Months that were signed off, by whom, with the document that was signed; withdrawn ones stay (docs/sign-off.md).';

CREATE TABLE IF NOT EXISTS analytics_signed_figures (
    signoff_id bigint  NOT NULL REFERENCES analytics_signoffs ON DELETE CASCADE,
    -- The metric table, as analytics_metric_periods names it, and the column.
    metric     text    NOT NULL,
    figure     text    NOT NULL,
    unit       text    NOT NULL CHECK (unit IN ('money', 'count', 'percent', 'ratio')),
    -- Its place among the figures of the month.
    place      integer NOT NULL,
    -- Exact and unrounded; NULL: it was undefined.
    value      numeric,
    PRIMARY KEY (signoff_id, metric, figure)
);

COMMENT ON TABLE analytics_signed_figures IS
    'The figures of signed months as they were when they were signed.';

-- Answers about them change with them.
CREATE OR REPLACE TRIGGER analytics_data_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON analytics_signoffs
    FOR EACH STATEMENT EXECUTE FUNCTION analytics_note_data_change();
