SELECT r.request_sha256, r.answer
FROM analytics_api_replays AS r
WHERE r.caller = %(caller)s AND r.key = %(key)s AND r.answered_at > now() - interval '1 day'
