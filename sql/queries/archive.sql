-- name: archive_announce
-- What is about to be written of a range, so that whatever a killed process has left of it is known.
INSERT INTO analytics_archive_ranges AS r (
    range_start, range_end, is_whole, writing_columns, writing_rows, writing_checksum, writing_late
)
VALUES (%(start)s, %(end)s, %(is_whole)s, %(columns)s::text[], %(rows)s, %(checksum)s, %(late)s)
ON CONFLICT (range_start) DO UPDATE SET
    is_whole = excluded.is_whole,
    writing_columns = excluded.writing_columns, writing_rows = excluded.writing_rows,
    writing_checksum = excluded.writing_checksum, writing_late = excluded.writing_late


-- name: archive_dropped
-- The events of these ranges have just been dropped, of some of them perhaps a part.
UPDATE analytics_archive_ranges
SET is_whole = false, dropped_at = now()
WHERE range_start = ANY (%(starts)s::timestamptz[])


-- name: archive_due_chunks
-- The chunks of raw events that have expired by an age, or will within a lead, in order; with whether something of them
-- is held, and whether they have expired.
SELECT
    format('%%I.%%I', c.chunk_schema, c.chunk_name), c.range_start, c.range_end,
    c.range_end <= now() - %(age)s::interval AS has_expired,
    EXISTS (
        SELECT FROM analytics_archive_holds AS h WHERE h.events_start < c.range_end AND h.events_end > c.range_start
    ) AS is_held
FROM timescaledb_information.chunks AS c
WHERE c.hypertable_name = 'analytics_events' AND c.range_end <= now() - %(age)s::interval + %(lead)s::interval
ORDER BY c.range_start


-- name: archive_event_columns
-- The columns of the events with their types, in order.
SELECT a.attname::text, format_type(a.atttypid, a.atttypmod)
FROM pg_attribute AS a
WHERE a.attrelid = 'analytics_events'::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
ORDER BY a.attnum


-- name: archive_hold
-- Months are to be brought back: from here on nothing of them is dropped.
INSERT INTO analytics_archive_holds (hold_start, hold_end, events_start, events_end)
VALUES (%(start)s, %(end)s, %(events_start)s, %(events_end)s)
ON CONFLICT (hold_start, hold_end) DO UPDATE SET events_start = excluded.events_start, events_end = excluded.events_end


-- name: archive_proved
-- What was read back of a range; whatever of it came late is counted, once.
UPDATE analytics_archive_ranges AS r
SET columns = %(columns)s::text[], rows = %(rows)s, checksum = %(checksum)s, version = %(version)s, proven_at = now(),
    late_rows = r.late_rows + coalesce(r.writing_late, 0),
    late_at = CASE WHEN r.writing_late > 0 THEN now() ELSE r.late_at END,
    writing_columns = NULL, writing_rows = NULL, writing_checksum = NULL, writing_late = NULL
WHERE r.range_start = %(start)s


-- name: archive_ranges
-- What is recorded of the ranges that overlap a window, in order.
SELECT
    range_start, range_end, columns, rows, checksum, version, proven_at,
    writing_columns, writing_rows, writing_checksum, is_whole, dropped_at, late_rows, late_at
FROM analytics_archive_ranges
WHERE range_start < %(end)s AND range_end > %(start)s
ORDER BY range_start


-- name: archive_restored
-- The database holds all of a range again.
UPDATE analytics_archive_ranges SET is_whole = true, dropped_at = NULL WHERE range_start = %(start)s
