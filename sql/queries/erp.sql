-- name: erp_clock
SELECT now()


-- name: erp_columns
-- No row, only the columns of a source of the ERP.
SELECT *
FROM (
{source}
) AS source
LIMIT %(rows)s


-- name: erp_event_types
-- The types of event that a source of the ERP has.
SELECT DISTINCT source.event_type::text AS event_type
FROM (
{source}
) AS source
LIMIT %(rows)s


-- name: erp_first
-- Where the history of a source of the ERP begins, in one row.
SELECT min(cursor_at) AS first
FROM (
{source}
) AS source
LIMIT %(rows)s


-- name: erp_page
-- The next rows of a source of the ERP, in the order of time and key, after the last one that was read.
SELECT {columns}
FROM (
{source}
) AS source
CROSS JOIN LATERAL (SELECT coalesce(nullif(source_key::text, ''), ' ') COLLATE "C" AS key) AS named
WHERE cursor_at >= %(since)s
  AND cursor_at < %(until)s
  AND (cursor_at, named.key) > (%(since)s, %(after_key)s::text COLLATE "C")
ORDER BY cursor_at, named.key
LIMIT %(rows)s


-- name: erp_probe
-- How many rows lie after an instant, and the newest of them: cheap, and another answer whenever there is something
-- to read.
SELECT count(*) AS rows, max(cursor_at) AS newest, now() AS at
FROM (
{source}
) AS source
WHERE cursor_at >= %(since)s AND cursor_at < now()


-- name: erp_rows_of_days
-- The rows of a source of the ERP that happened on some days (UTC) of a window, of some companies.
SELECT {columns}
FROM (
{source}
) AS source
CROSS JOIN LATERAL (SELECT coalesce(nullif(source_key::text, ''), ' ') COLLATE "C" AS key) AS named
WHERE source."timestamp" >= %(start)s AND source."timestamp" < %(end)s
  AND (source."timestamp" AT TIME ZONE 'UTC')::date = ANY (%(days)s::date[])
  AND coalesce(source.company_id::text, '') = ANY (%(companies)s::text[])
ORDER BY named.key
LIMIT %(rows)s


-- name: erp_sample
-- Some rows of a source of the ERP, whichever come first.
SELECT {columns}
FROM (
{source}
) AS source
CROSS JOIN LATERAL (SELECT coalesce(nullif(source_key::text, ''), ' ') COLLATE "C" AS key) AS named
LIMIT %(rows)s


-- name: erp_totals
-- How many rows of a source of the ERP happened in a window, and their sum, by company, day (UTC) and currency.
SELECT
    coalesce(source.company_id::text, '') AS company_id, (source."timestamp" AT TIME ZONE 'UTC')::date AS day,
    count(*) AS number, {columns}
FROM (
{source}
) AS source
WHERE source."timestamp" >= %(start)s AND source."timestamp" < %(end)s
GROUP BY 1, 2, 4


-- name: erp_transactions
-- Transactions of the ERP's database that are under way. Every role may see them: each holds the lock on its own
-- virtual id. When they began is shown for the role's own ones, or to members of pg_read_all_stats.
SELECT 'transaction ' || lock.virtualtransaction, activity.xact_start, false
FROM pg_locks AS lock
JOIN pg_stat_activity AS activity ON activity.pid = lock.pid
WHERE lock.locktype = 'virtualxid'
  AND lock.mode = 'ExclusiveLock'
  AND lock.pid <> pg_backend_pid()
  AND activity.datid = (SELECT oid FROM pg_database WHERE datname = current_database())
  -- Vacuum and its like belong to nobody, and write no rows.
  AND activity.usesysid IS NOT NULL
UNION ALL
SELECT 'prepared ' || transaction::text, NULL, true
FROM pg_prepared_xacts
WHERE database = current_database()


-- name: erp_without_cursor
-- A row that is never read, if there is one.
SELECT 1 AS found
FROM (
{source}
) AS source
WHERE cursor_at IS NULL
LIMIT %(rows)s


-- name: recorded_of_days
-- Events of some types on some days (UTC) of a window.
SELECT
    e.event_id, e.company_id, analytics_date(e."timestamp"), coalesce(e.currency, ''), coalesce(e.value, 0)
FROM analytics_events AS e
WHERE e."timestamp" >= %(start)s AND e."timestamp" < %(end)s AND e.event_type = ANY (%(types)s::text[])
  AND analytics_date(e."timestamp") = ANY (%(days)s::date[])


-- name: recorded_totals
-- How many events of some types there are in a window, and their sum, by company, day (UTC) and currency; of some
-- companies, null: of all.
SELECT
    e.company_id, analytics_date(e."timestamp"), coalesce(e.currency, ''), count(*), coalesce(sum(e.value), 0)
FROM analytics_events AS e
WHERE e."timestamp" >= %(start)s AND e."timestamp" < %(end)s AND e.event_type = ANY (%(types)s::text[])
  AND (%(companies)s::text[] IS NULL OR e.company_id = ANY (%(companies)s::text[]))
GROUP BY 1, 2, 3


-- name: source_add_events
INSERT INTO analytics_source_events (event_id, "timestamp", content)
SELECT * FROM unnest(%(event_ids)s::uuid[], %(timestamps)s::timestamptz[], %(contents)s::uuid[])
ON CONFLICT (event_id) DO NOTHING


-- name: source_add_rejects
-- Of each kind of reason only the first rows are kept; one that is tried again by itself always is.
WITH reject AS (
    SELECT
        given.*,
        given.retry_at IS NOT NULL OR EXISTS (
            SELECT FROM analytics_source_rejects AS known
            WHERE known.source = %(source)s AND known.source_key = given.source_key AND known.resolved_at IS NULL
        ) AS is_kept
    FROM jsonb_to_recordset(%(rejects)s::jsonb) AS given (
        source_key text,
        kind       text,
        reason     text,
        row        jsonb,
        retry_at   timestamptz
    )
),
taken AS (
    SELECT known.kind, count(*) AS rejects
    FROM analytics_source_rejects AS known
    WHERE known.source = %(source)s AND known.resolved_at IS NULL
    GROUP BY known.kind
),
numbered AS (
    SELECT
        r.*,
        coalesce(t.rejects, 0) + row_number() OVER (PARTITION BY r.kind, r.is_kept ORDER BY r.source_key) AS number
    FROM reject AS r
    LEFT JOIN taken AS t ON t.kind = r.kind
)
INSERT INTO analytics_source_rejects AS known (source, source_key, kind, reason, row, retry_at)
SELECT %(source)s, source_key, kind, reason, row, retry_at
FROM numbered
WHERE is_kept OR number <= %(most)s
ON CONFLICT (source, source_key) DO UPDATE SET
    kind = excluded.kind,
    reason = excluded.reason,
    row = excluded.row,
    retry_at = excluded.retry_at,
    first_seen = CASE WHEN known.resolved_at IS NULL THEN known.first_seen ELSE now() END,
    last_seen = now(),
    resolved_at = NULL


-- name: source_begin
-- A run of a source begins; an older one that is still at work can't write any more.
INSERT INTO analytics_source_cursors AS state (source, overlap, attempt, started_at, failures)
VALUES (%(source)s, %(overlap)s, 1, now(), 1)
ON CONFLICT (source) DO UPDATE SET
    overlap = excluded.overlap,
    attempt = state.attempt + 1,
    started_at = now(),
    -- Taken back when the run comes to its end.
    failures = state.failures + 1
RETURNING *


-- name: source_correct_events
UPDATE analytics_source_events AS s SET content = c.content
FROM unnest(%(event_ids)s::uuid[], %(contents)s::uuid[]) AS c (event_id, content)
WHERE s.event_id = c.event_id


-- name: source_delete_event
-- Company and time let the server pass over all other chunks and compressed segments. With the event that takes its
-- place, numbers and sums may be as they were: so it is noted of whom the hour has changed.
WITH deleted AS (
    DELETE FROM analytics_events
    WHERE company_id = %(company_id)s AND "timestamp" = %(timestamp)s AND event_id = %(event_id)s
    RETURNING company_id, analytics_floor('hour', "timestamp") AS hour
)
INSERT INTO analytics_changed_hours (company_id, by_statement, hours)
SELECT d.company_id, true, tstzmultirange(tstzrange(d.hour, d.hour + interval '1 hour')) FROM deleted AS d


-- name: source_due_rejects
SELECT row
FROM analytics_source_rejects
WHERE source = %(source)s AND resolved_at IS NULL AND retry_at <= now()
ORDER BY retry_at
LIMIT %(most)s


-- name: source_event_company
-- Whose event it is, so that it can be deleted by company (source_delete_event.sql).
SELECT company_id FROM analytics_events WHERE event_id = %(event_id)s AND "timestamp" = %(timestamp)s


-- name: source_fail
UPDATE analytics_source_cursors
SET finished_at = now(), last_error = %(error)s
WHERE source = %(source)s AND attempt = %(attempt)s


-- name: source_finish
UPDATE analytics_source_cursors
SET finished_at = now(), failures = 0, last_error = NULL
WHERE source = %(source)s AND attempt = %(attempt)s


-- name: source_forget
DELETE FROM analytics_source_events WHERE event_id = %(event_id)s RETURNING "timestamp"


-- name: source_known_events
SELECT event_id, "timestamp", content
FROM analytics_source_events
WHERE event_id = ANY(%(event_ids)s)


-- name: source_quiet
-- A probe has found nothing new: what the ERP held then is in.
UPDATE analytics_source_cursors
SET complete_until = %(at)s
WHERE source = %(source)s AND attempt = %(attempt)s AND complete_until < %(at)s


-- name: source_recorded_events
-- Events as they were recorded, to say how the ERP's row differs; the times let the server pass over other chunks.
SELECT event_id, "timestamp", company_id, user_id, event_type, category, value, currency, metadata::text
FROM analytics_events
WHERE event_id = ANY(%(event_ids)s) AND "timestamp" = ANY(%(timestamps)s)


-- name: source_rejects
-- Rows of the ERP that are not events, newest first.
SELECT source, source_key, reason, row, first_seen, last_seen, retry_at
FROM analytics_source_rejects
WHERE (%(source)s::text IS NULL OR source = %(source)s) AND resolved_at IS NULL
ORDER BY first_seen DESC, source, source_key
LIMIT %(most)s


-- name: source_reset
-- The next pass reads from here, and a run that is under way stops. No row: it would leave rows out.
INSERT INTO analytics_source_cursors AS state (source, overlap, cursor_at)
VALUES (%(source)s, %(overlap)s, %(since)s)
ON CONFLICT (source) DO UPDATE SET
    cursor_at = excluded.cursor_at,
    pass_until = NULL,
    pass_safe = NULL,
    pass_newest = NULL,
    position_at = NULL,
    position_key = NULL,
    window_rows = NULL,
    window_newest = NULL,
    attempt = state.attempt + 1
WHERE state.cursor_at IS NULL OR excluded.cursor_at <= state.cursor_at


-- name: source_resolve_rejects
UPDATE analytics_source_rejects
SET resolved_at = now(), retry_at = NULL
WHERE source = %(source)s AND source_key = ANY(%(keys)s) AND resolved_at IS NULL


-- name: source_save
-- How far a run has come. No row: a newer run has begun, or the source was reset.
UPDATE analytics_source_cursors SET
    cursor_at = %(cursor_at)s,
    pass_until = %(pass_until)s,
    pass_safe = %(pass_safe)s,
    pass_newest = %(pass_newest)s,
    position_at = %(position_at)s,
    position_key = %(position_key)s,
    looked_at = %(looked_at)s,
    open_transactions = %(open_transactions)s::jsonb,
    complete_until = %(complete_until)s,
    window_rows = %(window_rows)s,
    window_newest = %(window_newest)s,
    last_read = %(last_read)s,
    last_new = %(last_new)s,
    last_rejected = %(last_rejected)s,
    total_new = %(total_new)s
WHERE source = %(source)s AND attempt = %(attempt)s


-- name: source_states
-- How far each source has been read, with its open rejects and whether one of them is due to be tried again.
SELECT
    state.*,
    rejects.open AS open_rejects,
    rejects.due AS has_due_rejects
FROM analytics_source_cursors AS state
CROSS JOIN LATERAL (
    SELECT count(*) AS open, coalesce(bool_or(retry_at <= now()), false) AS due
    FROM analytics_source_rejects AS reject
    WHERE reject.source = state.source AND reject.resolved_at IS NULL
) AS rejects
