-- A grant holds for the role it was given to: one that is renamed, or dropped and made again under its name, is another.
ALTER TABLE analytics_company_grants ADD COLUMN IF NOT EXISTS role_oid oid;

UPDATE analytics_company_grants
SET role_oid = to_regrole(quote_ident(role_name))::oid
WHERE role_oid IS NULL;

COMMENT ON COLUMN analytics_company_grants.role_oid IS
    'The role itself; where no role has both this number and role_name, the grant shows nothing to anybody.';
