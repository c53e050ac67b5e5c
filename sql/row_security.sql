-- Who sees which rows of the tables with a company in them: the companies granted, and for members of analytics_api the
-- company that the session names; operators and analysts see every company's. Nobody else sees anything.

-- A grant holds where its role still has the number and the name that it had. Whoever has logged in stays bound by its
-- grants, whatever role it takes on by SET ROLE; only who serves others as the owner is bound by the role taken on.
DROP POLICY IF EXISTS own_grants ON analytics_company_grants;
CREATE POLICY own_grants ON analytics_company_grants FOR SELECT
    USING (
        to_regrole(quote_ident(role_name)) = role_oid
        AND pg_has_role(
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

DO $$
DECLARE
    target text;
BEGIN
    FOREACH target IN ARRAY ARRAY[
        'analytics_revenue_metrics', 'analytics_mrr_movements', 'analytics_user_metrics', 'analytics_companies'
    ]
    LOOP
        EXECUTE format('DROP POLICY IF EXISTS own_companies ON %I', target);
        -- Who is asking is looked up once a query, not once a row; with a grant the setting can only narrow it.
        EXECUTE format($policy$
            CREATE POLICY own_companies ON %1$I FOR SELECT USING (
                (
                    (
                        company_id IN (SELECT g.company_id FROM analytics_company_grants AS g)
                        -- Of every company: and of all together, which has none.
                        OR EXISTS (SELECT FROM analytics_company_grants AS g WHERE g.company_id IS NULL)
                    )
                    AND company_id IS NOT DISTINCT FROM coalesce(
                        nullif(current_setting('analytics.company', true), ''), company_id
                    )
                )
                OR (
                    company_id = current_setting('analytics.company', true)
                    AND (
                        SELECT pg_has_role(
                            CASE
                                WHEN pg_has_role(session_user, t.relowner, 'MEMBER')
                                THEN current_user ELSE session_user
                            END,
                            to_regrole('analytics_api'), 'MEMBER'
                        )
                        FROM pg_class AS t
                        WHERE t.oid = %1$L::regclass
                    )
                )
            )
        $policy$, target);
        -- A role that could not be made yet is another one's affair (reader_access).
        EXECUTE format('DROP POLICY IF EXISTS every_company ON %I', target);
        IF to_regrole('analytics_operator') IS NOT NULL AND to_regrole('analytics_analyst') IS NOT NULL THEN
            EXECUTE format(
                'CREATE POLICY every_company ON %I FOR SELECT TO analytics_operator, analytics_analyst USING (true)',
                target
            );
        END IF;
    END LOOP;
END
$$;
