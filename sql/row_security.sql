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
