-- Who may read and call what. analytics_reader reads the metric tables, a company at a time (row-level security), and
-- never events or aggregates: those hold every company's rows. Members of analytics_api, readers too, name the company of
-- their session; every other reader sees what it was granted. Nobody but the owner calls our functions, which lock
-- and write; readers call those that round, for the views of rounded figures.
DO $$
DECLARE
    role name;
BEGIN
    FOREACH role IN ARRAY ARRAY['analytics_reader', 'analytics_api'] LOOP
        IF to_regrole(role) IS NULL THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', role);
            EXCEPTION
                -- Another database's migration has just made it, or this role may not: then the check
                -- reader_access says what to ask an administrator for.
                WHEN duplicate_object OR unique_violation OR insufficient_privilege THEN NULL;
            END;
        END IF;
    END LOOP;
    IF to_regrole('analytics_reader') IS NOT NULL AND to_regrole('analytics_api') IS NOT NULL
       AND NOT pg_has_role('analytics_api', 'analytics_reader', 'MEMBER') THEN
        BEGIN
            GRANT analytics_reader TO analytics_api;
        EXCEPTION
            WHEN insufficient_privilege THEN NULL;
        END;
    END IF;
    IF to_regrole('analytics_reader') IS NOT NULL THEN
        GRANT SELECT ON
            analytics_revenue_metrics, analytics_mrr_movements, analytics_user_metrics,
            analytics_revenue_metrics_rounded, analytics_mrr_movements_rounded, analytics_user_metrics_rounded,
            analytics_metric_periods, analytics_company_grants, analytics_fx_rates
        TO analytics_reader;
        GRANT EXECUTE ON FUNCTION
            analytics_currency_digits, analytics_is_currency, analytics_round_half_even, analytics_round_shown, analytics_round_money,
            analytics_round_rate, analytics_round_unconverted
        TO analytics_reader;
    END IF;
END
$$;

-- PostgreSQL lets everybody call a new function; one that somebody else has made is theirs to close.
DO $$
DECLARE
    open_function regprocedure;
BEGIN
    FOR open_function IN
        SELECT p.oid
        FROM pg_proc AS p
        WHERE p.pronamespace = current_schema()::regnamespace AND p.proname LIKE 'analytics\_%'
          AND pg_has_role(p.proowner, 'USAGE') AND has_function_privilege('public', p.oid, 'EXECUTE')
    LOOP
        EXECUTE format('REVOKE EXECUTE ON ROUTINE %s FROM PUBLIC', open_function);
    END LOOP;
END
$$;
