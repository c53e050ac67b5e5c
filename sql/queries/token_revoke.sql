-- Whether the token was valid up to now; no row without such a token.
WITH known AS (
    SELECT t.token_id, t.revoked_at FROM analytics_api_tokens AS t WHERE t.token_id = %(token_id)s FOR UPDATE
), revoked AS (
    UPDATE analytics_api_tokens AS t SET revoked_at = now()
    FROM known AS k
    WHERE t.token_id = k.token_id AND k.revoked_at IS NULL
)
SELECT k.revoked_at IS NULL FROM known AS k
