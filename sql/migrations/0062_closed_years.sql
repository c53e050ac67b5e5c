-- Calendar years of revenue and of MRR are closed, too: a year's bridge is net for each customer, and can't be added up from
-- those of its months.
DO $$
DECLARE
    relation text;
BEGIN
    FOREACH relation IN ARRAY ARRAY[
        'analytics_revenue_metrics', 'analytics_mrr_movements', 'analytics_metric_periods', 'analytics_metric_changes'
    ]
    LOOP
        EXECUTE format('ALTER TABLE %I DROP CONSTRAINT IF EXISTS %I', relation, relation || '_granularity_check');
        EXECUTE format(
            'ALTER TABLE %I ADD CONSTRAINT %I CHECK (granularity IN (''day'', ''month'', ''year''))',
            relation, relation || '_granularity_check'
        );
    END LOOP;
END
$$;

ALTER TABLE analytics_metric_periods ADD COLUMN IF NOT EXISTS is_settled boolean NOT NULL DEFAULT true;

COMMENT ON COLUMN analytics_metric_periods.is_settled IS
    'Whether the figures stand on nothing but what users, subscriptions and aggregates had taken in when they were computed: '
    'of an event that they had not nobody notes that it was taken away again.';

COMMENT ON TABLE analytics_revenue_metrics IS
    'The revenue answer of closed days, months and years per company: half-open periods, reporting currency, unrounded.';
COMMENT ON TABLE analytics_mrr_movements IS
    'MRR at start and end of closed days, months and years per company, and what moved it; losses are positive.';
COMMENT ON TABLE analytics_metric_periods IS
    'Closed days, months and years of the metric tables, a row for each calendar (time zone and currency) that has companies: '
    'by which definitions, and the newest change they have seen.';
