WITH forgotten AS (
    DELETE FROM analytics_api_replays AS r
    WHERE r.answered_at <= now() - interval '1 day' AND (r.caller, r.key) <> (%(caller)s, %(key)s)
)
INSERT INTO analytics_api_replays AS r (caller, key, request_sha256, answer)
VALUES (%(caller)s, %(key)s, %(sha256)s, %(answer)s)
ON CONFLICT (caller, key) DO UPDATE
SET request_sha256 = excluded.request_sha256, answer = excluded.answer, answered_at = now()
WHERE r.answered_at <= now() - interval '1 day'
