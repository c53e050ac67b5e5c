-- The functions that members of analytics_api call, in a schema of their own. Each has the name, the arguments and the
-- columns of the function that defines the figure, so that the same query asks either: the owner finds the function
-- itself, a member of analytics_api, whose path begins with this schema, the one here. It is the owner's (security
-- definer) and asks first whether the session is bound to the company.
CREATE OR REPLACE FUNCTION analytics_api.require_companies(p_companies text[])
RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- Null is all companies, of which only a session may ask that is bound to none.
    IF current_setting('analytics.every_company', true) = 'on' THEN
        RETURN;
    END IF;
    IF p_companies IS NULL OR EXISTS (
        SELECT FROM unnest(p_companies) AS c (company_id)
        WHERE c.company_id IS DISTINCT FROM nullif(current_setting('analytics.company', true), '')
           OR c.company_id IS NULL
    ) THEN
        RAISE EXCEPTION 'this session is not bound to that company' USING ERRCODE = 'insufficient_privilege';
    END IF;
END
$$;

COMMENT ON FUNCTION analytics_api.require_companies IS
    'Raises an error unless the session''s settings analytics.company or analytics.every_company allow all of the companies.';

DO $$
DECLARE
    target record;
    outdated regprocedure;
BEGIN
    FOR outdated IN
        SELECT p.oid FROM pg_proc AS p
        WHERE p.pronamespace = 'analytics_api'::regnamespace AND p.proname <> 'require_companies'
    LOOP
        EXECUTE format('DROP FUNCTION %s', outdated);
    END LOOP;
    FOR target IN
        SELECT
            p.oid, p.proname, p.pronargs, p.proretset, p.prorettype, p.provolatile, pg_get_function_arguments(p.oid) AS arguments,
            pg_get_function_result(p.oid) AS result,
            CASE p.proargnames[1]
                WHEN 'p_periods'
                THEN 'ARRAY(SELECT w.company_id FROM unnest(p_periods) AS w)'
                WHEN 'p_company' THEN 'ARRAY[p_company]'
                WHEN 'p_companies' THEN 'p_companies'
                ELSE CASE WHEN p.proname IN ('analytics_listed_companies', 'analytics_operations') THEN 'NULL' END
            END AS companies
        FROM pg_proc AS p
        WHERE p.pronamespace = current_schema()::regnamespace
          AND p.proname = ANY (ARRAY[
              'analytics_revenue_figures', 'analytics_mrr_figures', 'analytics_stored_revenue', 'analytics_stored_movements',
              'analytics_user_answers', 'analytics_user_figures',
              'analytics_crypto_assets', 'analytics_top_events', 'analytics_company_is_known',
              'analytics_company_rows', 'analytics_documents_of',
              'analytics_request_report', 'analytics_report_request_of', 'analytics_open_document',
              'analytics_signoffs_of', 'analytics_sign_month', 'analytics_withdraw_signoffs',
              -- Of all companies.
              'analytics_listed_companies', 'analytics_operations',
              -- They name no company.
              'analytics_figure_periods', 'analytics_periods', 'analytics_previous_start', 'analytics_as_of',
              'analytics_local_start', 'analytics_local_date', 'analytics_local_periods',
              'analytics_data_through', 'analytics_data_version', 'analytics_closing_stretches', 'analytics_events_from',
              'analytics_time_zones', 'analytics_is_brought_back',
              -- They are asked before it is known for whom.
              'analytics_find_token', 'analytics_note_token_uses', 'analytics_find_document_key', 'analytics_unsubscribe'
          ])
           OR p.oid = 'analytics_activity_is_kept(timestamptz, timestamptz, text)'::regprocedure
    LOOP
        EXECUTE format(
            $function$
            CREATE FUNCTION analytics_api.%1$I(%2$s) RETURNS %3$s
            LANGUAGE plpgsql %7$s SECURITY DEFINER SET search_path = %4$I, pg_temp
            AS $body$
            #variable_conflict use_column
            BEGIN
                %5$s
                %6$s;
            END
            $body$
            $function$,
            target.proname, target.arguments, target.result, current_schema(),
            CASE WHEN target.companies IS NOT NULL
                 THEN format('PERFORM analytics_api.require_companies(%s);', target.companies) ELSE '' END,
            format(
                CASE WHEN target.proretset THEN 'RETURN QUERY SELECT f.* FROM %1$I.%2$I(%3$s) AS f'
                     WHEN target.prorettype = 'void'::regtype THEN 'PERFORM %1$I.%2$I(%3$s)'
                     ELSE 'RETURN %1$I.%2$I(%3$s)' END,
                current_schema(), target.proname,
                (SELECT string_agg(format('$%s', n), ', ') FROM generate_series(1, target.pronargs) AS n)
            ),
            CASE target.provolatile WHEN 'v' THEN 'VOLATILE' ELSE 'STABLE' END
        );
    END LOOP;
    REVOKE ALL ON SCHEMA analytics_api FROM PUBLIC;
    REVOKE ALL ON ALL FUNCTIONS IN SCHEMA analytics_api FROM PUBLIC;
    IF to_regrole('analytics_api') IS NOT NULL THEN
        GRANT USAGE ON SCHEMA analytics_api TO analytics_api;
        GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA analytics_api TO analytics_api;
    END IF;
END
$$;

-- The program's own login serves the API, too, unless it is given others: it takes on the two roles for each request.
-- From PostgreSQL 16 on whoever may grant a role may not take it on by that alone.
DO $$
DECLARE
    role name;
BEGIN
    FOREACH role IN ARRAY ARRAY['analytics_api', 'analytics_writer'] LOOP
        CONTINUE WHEN to_regrole(role) IS NULL;
        BEGIN
            IF current_setting('server_version_num')::integer < 160000 THEN
                IF NOT pg_has_role(role, 'MEMBER') THEN
                    EXECUTE format('GRANT %I TO %I', role, current_user);
                END IF;
            ELSIF NOT pg_has_role(role, 'SET') THEN
                EXECUTE format('GRANT %I TO %I WITH INHERIT FALSE, SET TRUE', role, current_user);
            END IF;
        EXCEPTION
            -- Then the API needs logins of its own: ANALYTICS_API_URL and ANALYTICS_API_WRITER_URL.
            WHEN insufficient_privilege THEN NULL;
        END;
    END LOOP;
END
$$;
