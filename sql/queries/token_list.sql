SELECT
    t.token_id, t.label, t.company_id, t.scopes, t.created_at, t.expires_at, t.last_used_at, t.revoked_at,
    t.revoked_at IS NULL AND t.expires_at > now()
FROM analytics_api_tokens AS t
ORDER BY t.created_at, t.token_id
