-- name: api_known_events
-- Which of some events are stored, by id and instant.
SELECT e.event_id, e."timestamp"
FROM unnest(%(ids)s::uuid[], %(instants)s::timestamptz[]) AS k (event_id, instant)
JOIN analytics_events AS e ON e.event_id = k.event_id AND e."timestamp" = k.instant
WHERE e."timestamp" >= %(first)s AND e."timestamp" <= %(last)s


-- name: api_replay
SELECT r.request_sha256, r.answer
FROM analytics_api_replays AS r
WHERE r.caller = %(caller)s AND r.key = %(key)s AND r.answered_at > now() - interval '1 day'


-- name: api_replay_keep
WITH forgotten AS (
    DELETE FROM analytics_api_replays AS r
    WHERE r.answered_at <= now() - interval '1 day' AND (r.caller, r.key) <> (%(caller)s, %(key)s)
)
INSERT INTO analytics_api_replays AS r (caller, key, request_sha256, answer)
VALUES (%(caller)s, %(key)s, %(sha256)s, %(answer)s)
ON CONFLICT (caller, key) DO UPDATE
SET request_sha256 = excluded.request_sha256, answer = excluded.answer, answered_at = now()
WHERE r.answered_at <= now() - interval '1 day'


-- name: token_create
INSERT INTO analytics_api_tokens (token_id, token_hash, label, company_id, scopes, expires_at)
VALUES (%(token_id)s, %(hash)s, %(label)s, %(company_id)s, %(scopes)s, now() + %(valid_for)s)


-- name: token_list
SELECT
    t.token_id, t.label, t.company_id, t.scopes, t.created_at, t.expires_at, t.last_used_at, t.revoked_at,
    t.revoked_at IS NULL AND t.expires_at > now()
FROM analytics_api_tokens AS t
ORDER BY t.created_at, t.token_id


-- name: token_revoke
-- Whether the token was valid up to now; no row without such a token.
WITH known AS (
    SELECT t.token_id, t.revoked_at FROM analytics_api_tokens AS t WHERE t.token_id = %(token_id)s FOR UPDATE
), revoked AS (
    UPDATE analytics_api_tokens AS t SET revoked_at = now()
    FROM known AS k
    WHERE t.token_id = k.token_id AND k.revoked_at IS NULL
)
SELECT k.revoked_at IS NULL FROM known AS k
