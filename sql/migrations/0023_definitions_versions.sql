-- What a new version of the definitions means for what is closed. A closed period that was computed again by other
-- definitions, and has not changed since by anything else, keeps the version it had before: documents are not made
-- again for it, and alerts neither begin nor end by it.
ALTER TABLE analytics_metric_periods ADD COLUMN IF NOT EXISTS restated_from integer;

COMMENT ON COLUMN analytics_metric_periods.restated_from IS
    'The version of the definitions its figures followed before, while nothing but the definitions has changed since.';

-- Functions of these names take more from now on.
DROP FUNCTION IF EXISTS analytics_stale_metric_periods();
DROP FUNCTION IF EXISTS analytics_note_metric(text, text, timestamptz, timestamptz, text, integer, bigint);
