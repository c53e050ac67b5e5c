-- Log-ins, and users who registered or were deleted.
-- overlap: 1 hour
SELECT
    'login ' || login.id AS source_key,
    login.updated_at AS cursor_at,
    login.logged_in_at AS "timestamp",
    account.company_id,
    account.id::text AS user_id,
    'user.login' AS event_type,
    'user_activity' AS category,
    jsonb_build_object('method', login.method) AS metadata
FROM erp.logins AS login
JOIN erp.users AS account ON account.id = login.user_id
UNION ALL
SELECT
    'registered ' || account.id,
    account.updated_at,
    account.registered_at,
    account.company_id,
    account.id::text,
    'user.registered',
    'user_activity',
    '{}'::jsonb
FROM erp.users AS account
UNION ALL
SELECT
    'deleted ' || account.id,
    account.updated_at,
    account.deleted_at,
    account.company_id,
    account.id::text,
    'user.deleted',
    'user_activity',
    '{}'::jsonb
FROM erp.users AS account
WHERE account.deleted_at IS NOT NULL
