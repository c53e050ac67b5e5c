-- Figures of closed days and months, per company, in the reporting currency. Plain tables: row-level
-- security can't be combined with continuous aggregates. Amounts and rates are unrounded.
CREATE TABLE IF NOT EXISTS analytics_revenue_metrics (
    company_id               text        NOT NULL,
    granularity              text        NOT NULL CHECK (granularity IN ('day', 'month')),
    period_start             timestamptz NOT NULL,
    period_end               timestamptz NOT NULL,
    currency                 text        NOT NULL,
    total_revenue            numeric     NOT NULL,
    previous_revenue         numeric     NOT NULL,
    revenue_growth           numeric,
    invoiced                 numeric     NOT NULL,
    refunds                  numeric     NOT NULL,
    mrr                      numeric     NOT NULL,
    arr                      numeric     NOT NULL,
    paying_customers         bigint      NOT NULL,
    arpa                     numeric,
    total_users              bigint      NOT NULL,
    average_revenue_per_user numeric,
    unconverted              jsonb       NOT NULL DEFAULT '[]',
    definitions_version      integer     NOT NULL,
    computed_at              timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (company_id, granularity, period_start, currency)
);

CREATE TABLE IF NOT EXISTS analytics_mrr_movements (
    company_id          text        NOT NULL,
    granularity         text        NOT NULL CHECK (granularity IN ('day', 'month')),
    period_start        timestamptz NOT NULL,
    period_end          timestamptz NOT NULL,
    currency            text        NOT NULL,
    start_mrr           numeric     NOT NULL,
    new                 numeric     NOT NULL,
    reactivation        numeric     NOT NULL,
    expansion           numeric     NOT NULL,
    contraction         numeric     NOT NULL,
    churn               numeric     NOT NULL,
    fx                  numeric     NOT NULL,
    end_mrr             numeric     NOT NULL,
    unconverted         jsonb       NOT NULL DEFAULT '[]',
    definitions_version integer     NOT NULL,
    computed_at         timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (company_id, granularity, period_start, currency),
    CONSTRAINT analytics_mrr_movements_add_up
        CHECK (start_mrr + new + reactivation + expansion - contraction - churn + fx = end_mrr)
);

CREATE TABLE IF NOT EXISTS analytics_user_metrics (
    company_id          text        NOT NULL,
    granularity         text        NOT NULL CHECK (granularity IN ('day', 'month')),
    period_start        timestamptz NOT NULL,
    period_end          timestamptz NOT NULL,
    total_users         bigint      NOT NULL,
    active_users        bigint      NOT NULL,
    new_users           bigint      NOT NULL,
    churned_users       bigint      NOT NULL,
    users_at_start      bigint      NOT NULL,
    churn_rate          numeric,
    active_user_rate    numeric,
    churn_rate_of_start numeric,
    -- Tells one set of active users from another of the same size: who churns next depends on it.
    active_fingerprint  bigint      NOT NULL,
    definitions_version integer     NOT NULL,
    computed_at         timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (company_id, granularity, period_start)
);

CREATE INDEX IF NOT EXISTS analytics_revenue_metrics_period_idx
    ON analytics_revenue_metrics (granularity, period_start);
CREATE INDEX IF NOT EXISTS analytics_mrr_movements_period_idx
    ON analytics_mrr_movements (granularity, period_start);
CREATE INDEX IF NOT EXISTS analytics_user_metrics_period_idx
    ON analytics_user_metrics (granularity, period_start);

COMMENT ON TABLE analytics_revenue_metrics IS
    'The revenue answer of closed days and months per company: half-open UTC periods, reporting currency, unrounded.';
COMMENT ON TABLE analytics_mrr_movements IS
    'MRR at start and end of closed days and months per company, and what moved it; losses are positive.';
COMMENT ON TABLE analytics_user_metrics IS
    'User figures of closed days and months per company: half-open UTC periods.';

-- Which partitions of these tables are closed, with companies in them or without.
CREATE TABLE IF NOT EXISTS analytics_metric_periods (
    metric              text        NOT NULL,
    granularity         text        NOT NULL CHECK (granularity IN ('day', 'month')),
    period_start        timestamptz NOT NULL,
    period_end          timestamptz NOT NULL,
    currency            text        NOT NULL,
    definitions_version integer     NOT NULL,
    -- The newest change that the figures have seen.
    changes_seen        bigint      NOT NULL,
    computed_at         timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (metric, granularity, period_start)
);

CREATE INDEX IF NOT EXISTS analytics_metric_periods_end_idx ON analytics_metric_periods (period_end);

COMMENT ON TABLE analytics_metric_periods IS
    'Closed partitions of the metric tables, by which definitions, and the newest change they have seen.';

-- Who may see which company. A role without a row here names its company by the setting analytics.company,
-- as an application does for whom it serves; a role with rows sees those companies and no others.
CREATE TABLE IF NOT EXISTS analytics_company_grants (
    role_name  text        NOT NULL,
    -- NULL: every company.
    company_id text,
    granted_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE NULLS NOT DISTINCT (role_name, company_id)
);

COMMENT ON TABLE analytics_company_grants IS
    'Companies that a role, or its members, may read in the metric tables; null: all of them.';

ALTER TABLE analytics_company_grants ENABLE ROW LEVEL SECURITY;
ALTER TABLE analytics_company_grants FORCE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS pipeline ON analytics_company_grants;
CREATE POLICY pipeline ON analytics_company_grants TO CURRENT_USER USING (true) WITH CHECK (true);
DROP POLICY IF EXISTS own_grants ON analytics_company_grants;
CREATE POLICY own_grants ON analytics_company_grants FOR SELECT
    USING (pg_has_role(current_user, to_regrole(quote_ident(role_name)), 'MEMBER'));

DO $$
DECLARE
    metric text;
BEGIN
    FOREACH metric IN ARRAY ARRAY[
        'analytics_revenue_metrics', 'analytics_mrr_movements', 'analytics_user_metrics'
    ]
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', metric);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', metric);
        EXECUTE format('DROP POLICY IF EXISTS pipeline ON %I', metric);
        EXECUTE format('DROP POLICY IF EXISTS own_companies ON %I', metric);
        EXECUTE format('CREATE POLICY pipeline ON %I TO CURRENT_USER USING (true) WITH CHECK (true)', metric);
        -- A grant is looked up once a query, not once a row; the setting can only narrow what is granted.
        EXECUTE format($policy$
            CREATE POLICY own_companies ON %I FOR SELECT USING (
                CASE
                    WHEN EXISTS (SELECT FROM analytics_company_grants)
                    THEN (
                            company_id IN (SELECT g.company_id FROM analytics_company_grants AS g)
                            OR EXISTS (SELECT FROM analytics_company_grants AS g WHERE g.company_id IS NULL)
                        )
                        AND company_id = coalesce(nullif(current_setting('analytics.company', true), ''), company_id)
                    ELSE company_id = current_setting('analytics.company', true)
                END
            )
        $policy$, metric);
    END LOOP;
END
$$;
