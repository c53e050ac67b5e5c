-- Ids that a company has at several instants, one of which came in lately. The hypertable's key holds the time, so an
-- id alone has no index over all chunks: every id is read once. Of very many events an even share of the ids is
-- grouped (1 in "shares", by hash: UUIDs of version 7 begin with the time).
SELECT *, count(*) OVER ()
FROM (
    SELECT company_id, event_id, array_agg("timestamp" ORDER BY "timestamp") AS instants, max(ingested_at) AS last_in
    FROM analytics_events
    WHERE uuid_hash(event_id)::bigint %% %(shares)s = 0
    GROUP BY company_id, event_id
    HAVING count(*) > 1 AND max(ingested_at) >= now() - %(look_back)s::interval
) AS repeated
ORDER BY last_in DESC, event_id
LIMIT %(most)s
