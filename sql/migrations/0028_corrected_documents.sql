-- Which figures a document shows, so that a later one can say which of them it corrects and by how much; what page one
-- says of the document's data; and which recipients are mailed a correction without a person asking for it.

-- {"columns": ["headline/value", ...], "figures": [{"name": ..., "label": ..., "value": ...}, ...]}, as
-- analytics_changed_figures compares them: columns are those there could be figures in.
ALTER TABLE analytics_report_documents
    ADD COLUMN IF NOT EXISTS shown_figures jsonb NOT NULL DEFAULT '{"columns": [], "figures": []}';

-- The figures it corrects: [{"name": ..., "label": ..., "before": ..., "after": ..., "difference": ...}, ...].
ALTER TABLE analytics_report_documents ADD COLUMN IF NOT EXISTS corrections jsonb NOT NULL DEFAULT '[]';

-- Sentences, as on page one; NULL of documents of earlier releases, where nobody knows.
ALTER TABLE analytics_report_documents ADD COLUMN IF NOT EXISTS cautions jsonb;

ALTER TABLE analytics_report_documents ALTER COLUMN held_because SET DEFAULT 'it has not been judged yet';

-- When its data were judged and hold it back: that is read anew every few minutes only.
ALTER TABLE analytics_report_documents ADD COLUMN IF NOT EXISTS judged_at timestamptz;

COMMENT ON COLUMN analytics_report_documents.judged_at IS
    'When its data were found to hold it back; null: they do not, or were not judged.';
COMMENT ON COLUMN analytics_report_documents.shown_figures IS
    'Every figure the document shows, by a name that stays; of documents of earlier releases the headline figures.';
COMMENT ON COLUMN analytics_report_documents.corrections IS
    'The figures that differ from an earlier document under the same definitions, and by how much; empty: none.';
COMMENT ON COLUMN analytics_report_documents.cautions IS
    'What page one of the document says of its data; null: of an earlier release.';

-- Of earlier documents the headline figures are known, as they are printed.
UPDATE analytics_report_documents AS d
SET shown_figures = jsonb_build_object(
    'columns', jsonb_build_array('headline/value'),
    'figures', coalesce((
        SELECT jsonb_agg(
            jsonb_build_object(
                'name', 'headline/value/' || k.key,
                'label', f.label,
                'value', CASE WHEN v.value ~ '^-?\d+(\.\d+)?$' THEN v.value END
            )
            ORDER BY p.place
        )
        FROM jsonb_array_elements(d.figures) WITH ORDINALITY AS p (figure, place)
        CROSS JOIN LATERAL jsonb_to_record(p.figure) AS f (label text, value text)
        CROSS JOIN LATERAL (SELECT translate(f.value, U&'\2212,', '-')) AS v (value)
        JOIN (VALUES
            ('Total revenue', 'totalRevenue'), ('MRR', 'mrr'), ('Invoiced', 'invoiced'), ('Refunds', 'refunds'),
            ('Paying customers', 'payingCustomers'), ('Active users', 'activeUsers'), ('New users', 'newUsers'),
            ('Churned users', 'churnedUsers')
        ) AS k (title, key) ON k.title = split_part(f.label, ', ', 1)
    ), '[]')
)
WHERE d.shown_figures = '{"columns": [], "figures": []}';

-- NULL, as for everybody there is: no correction is mailed by itself.
ALTER TABLE analytics_report_recipients ADD COLUMN IF NOT EXISTS corrections_from timestamptz;

COMMENT ON COLUMN analytics_report_recipients.corrections_from IS
    'Corrected documents made from then on are mailed to the recipient by themselves; null: a person has to resend them.';
