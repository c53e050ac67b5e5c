-- Who may read, write and call what. None of these roles logs in: logins are made members of them (docs/access.md).
-- What is not named here nobody but the owner may touch, new tables and functions included.

DO $$
DECLARE
    role name;
BEGIN
    FOREACH role IN ARRAY ARRAY[
        'analytics_reader', 'analytics_api', 'analytics_writer', 'analytics_operator', 'analytics_analyst'
    ] LOOP
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
END
$$;

-- analytics_reader reads the metric tables, a company at a time (row-level security), and never events or aggregates:
-- those hold every company's rows. Members of analytics_api, readers too, name the company of their session; every
-- other reader sees what it was granted.
DO $$
BEGIN
    IF to_regrole('analytics_reader') IS NOT NULL AND to_regrole('analytics_api') IS NOT NULL
       AND NOT pg_has_role('analytics_api', 'analytics_reader', 'MEMBER') THEN
        BEGIN
            GRANT analytics_reader TO analytics_api;
        EXCEPTION
            WHEN insufficient_privilege THEN NULL;
        END;
    END IF;
END
$$;

-- Figures, as the metric tables hold them and as they are shown. The views call the functions that round with the
-- rights of who asks, and the policies look for grants with them. Operators and analysts read every company's figures
-- (row_security.sql).
DO $$
DECLARE
    role name;
BEGIN
    FOREACH role IN ARRAY ARRAY['analytics_reader', 'analytics_operator', 'analytics_analyst'] LOOP
        CONTINUE WHEN to_regrole(role) IS NULL;
        EXECUTE format($grant$
            GRANT SELECT ON
                analytics_revenue_metrics, analytics_mrr_movements, analytics_user_metrics,
                analytics_revenue_metrics_rounded, analytics_mrr_movements_rounded, analytics_user_metrics_rounded,
                analytics_metric_periods, analytics_company_grants, analytics_fx_rates, analytics_companies
            TO %I
        $grant$, role);
        EXECUTE format($grant$
            GRANT EXECUTE ON FUNCTION
                analytics_currency_digits, analytics_is_currency, analytics_round_half_even, analytics_round_shown,
                analytics_round_money, analytics_round_rate, analytics_round_unconverted
            TO %I
        $grant$, role);
    END LOOP;
END
$$;

-- analytics_writer records events: it compares what it sends with what is stored, adds, and changes nothing that is
-- stored. Its chunks, present and future, have the rights of their table.
DO $$
BEGIN
    IF to_regrole('analytics_writer') IS NOT NULL THEN
        GRANT SELECT, INSERT ON analytics_events, analytics_ingest_rejects, analytics_ingest_reject_counts
        TO analytics_writer;
        GRANT SELECT, INSERT, UPDATE ON analytics_event_conflicts TO analytics_writer;
        GRANT SELECT ON analytics_id_aliases TO analytics_writer;
        -- By these it recognises ids that were erased.
        GRANT SELECT (digest, recorded_as, in_texts) ON analytics_erased_ids TO analytics_writer;
        GRANT SELECT ON analytics_erasure_key TO analytics_writer;
        -- Answers of the API to requests that may be sent again, kept beside their events.
        GRANT SELECT, INSERT, UPDATE, DELETE ON analytics_api_replays TO analytics_writer;
    END IF;
END
$$;

-- analytics_analyst reads the events, what is derived from them, and every continuous aggregate there is, those of
-- somebody's own in this schema included.
DO $$
DECLARE
    item text;
BEGIN
    IF to_regrole('analytics_analyst') IS NULL THEN
        RETURN;
    END IF;
    GRANT SELECT ON
        analytics_events, analytics_users, analytics_user_days, analytics_user_deletions, analytics_subscriptions,
        analytics_mrr_snapshots, analytics_closed_windows, analytics_metric_changes, analytics_retention_horizon,
        analytics_partitions, analytics_archive_holds
    TO analytics_analyst;
    FOR item IN
        SELECT format('%I.%I', a.view_schema, a.view_name)
        FROM timescaledb_information.continuous_aggregates AS a
        WHERE a.view_schema = current_schema() AND pg_has_role(a.view_owner, 'USAGE')
    LOOP
        EXECUTE format('GRANT SELECT ON %s TO analytics_analyst', item);
    END LOOP;
END
$$;

-- analytics_operator reads how the database stands, by views and functions that run with the owner's rights
-- (operations.sql).
DO $$
DECLARE
    item text;
BEGIN
    IF to_regrole('analytics_operator') IS NULL THEN
        RETURN;
    END IF;
    FOR item IN
        SELECT format('%I', c.relname)
        FROM pg_class AS c
        WHERE c.relnamespace = current_schema()::regnamespace AND c.relname LIKE 'analytics\_operations\_%'
          AND c.relkind = 'v' AND pg_has_role(c.relowner, 'USAGE')
    LOOP
        EXECUTE format('GRANT SELECT ON %s TO analytics_operator', item);
    END LOOP;
    FOR item IN
        SELECT p.oid::regprocedure
        FROM pg_proc AS p
        WHERE p.pronamespace = current_schema()::regnamespace AND pg_has_role(p.proowner, 'USAGE')
          AND (p.proname LIKE 'analytics\_operations\_%' OR p.prosecdef AND p.proname LIKE 'analytics\_%\_shown')
    LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO analytics_operator', item);
    END LOOP;
END
$$;

-- Analysts and operators call the functions of figures that only read, with their own rights.
DO $$
DECLARE
    role name;
    item text;
BEGIN
    FOREACH role IN ARRAY ARRAY['analytics_operator', 'analytics_analyst'] LOOP
        CONTINUE WHEN to_regrole(role) IS NULL;
        FOR item IN
            SELECT p.oid::regprocedure
            FROM pg_proc AS p
            WHERE p.pronamespace = current_schema()::regnamespace AND p.proname LIKE 'analytics\_%'
              AND p.prokind = 'f' AND p.provolatile <> 'v' AND NOT p.prosecdef AND pg_has_role(p.proowner, 'USAGE')
        LOOP
            EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %I', item, role);
        END LOOP;
    END LOOP;
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
