-- Who may read what, brought to this version at every migration. analytics_reader reads the metric tables,
-- a company at a time (row-level security), and never events or aggregates: those hold every company's rows.
DO $$
BEGIN
    IF to_regrole('analytics_reader') IS NULL THEN
        BEGIN
            CREATE ROLE analytics_reader NOLOGIN;
        EXCEPTION
            -- Another database's migration has just made it, or this role may not: then the check
            -- reader_access says what to ask an administrator for.
            WHEN duplicate_object OR unique_violation OR insufficient_privilege THEN NULL;
        END;
    END IF;
    IF to_regrole('analytics_reader') IS NOT NULL THEN
        GRANT SELECT ON
            analytics_revenue_metrics, analytics_mrr_movements, analytics_user_metrics,
            analytics_revenue_metrics_rounded, analytics_mrr_movements_rounded, analytics_user_metrics_rounded,
            analytics_metric_periods, analytics_company_grants, analytics_fx_rates
        TO analytics_reader;
    END IF;
END
$$;

-- Whoever has logged in stays bound by its grants, whatever role it takes on by SET ROLE; only who serves others as
-- the owner is bound by the role taken on.
DROP POLICY IF EXISTS own_grants ON analytics_company_grants;
CREATE POLICY own_grants ON analytics_company_grants FOR SELECT
    USING (
        pg_has_role(
            CASE
                WHEN pg_has_role(
                    session_user,
                    (SELECT t.relowner FROM pg_class AS t WHERE t.oid = 'analytics_company_grants'::regclass),
                    'MEMBER'
                )
                THEN current_user ELSE session_user
            END,
            to_regrole(quote_ident(role_name)), 'MEMBER'
        )
    );
