-- name: erased_ids
-- The ids that were erased, by their digests, with the key of those.
SELECT k.key, i.digest, i.recorded_as, i.in_texts
FROM analytics_erased_ids AS i
CROSS JOIN analytics_erasure_key AS k


-- name: id_alias_add
-- Former names of what is renamed now bear the new name, too; nothing is a former name of itself.
WITH renamed AS (
    UPDATE analytics_id_aliases SET present = %(present)s
    WHERE present = coalesce(%(user)s, %(company)s)
      AND (CASE WHEN %(user)s::text IS NULL THEN former_user_id IS NULL
                ELSE former_user_id IS NOT NULL AND company_id = %(company)s END)
)
INSERT INTO analytics_id_aliases (company_id, former_user_id, present)
VALUES (%(company)s, %(user)s, %(present)s)
ON CONFLICT (company_id, former_user_id) DO UPDATE SET present = excluded.present


-- name: id_aliases
-- Former names of companies, and of users under the present name of their company.
SELECT company_id, former_user_id, present
FROM analytics_id_aliases


-- name: id_event_days
-- The days (UTC) on which a company, or a user of it, has events.
SELECT DISTINCT date_trunc('day', "timestamp", 'UTC')
FROM analytics_events
WHERE company_id = %(company)s AND (%(user)s::text IS NULL OR user_id = %(user)s)
ORDER BY 1


-- name: id_rename_company_events
UPDATE analytics_events SET company_id = %(present)s
WHERE company_id = %(company)s AND "timestamp" >= %(day)s AND "timestamp" < %(day)s::timestamptz + interval '1 day'


-- name: id_rename_user_events
UPDATE analytics_events SET user_id = %(present)s
WHERE company_id = %(company)s AND user_id = %(user)s
  AND "timestamp" >= %(day)s AND "timestamp" < %(day)s::timestamptz + interval '1 day'


-- name: ids_stored_otherwise
-- Companies (user_id null) and users whose ids are not in the form in which ids are stored today. Users are those that
-- closed days have brought, and those of the events of open days.
SELECT company_id, user_id
FROM (
    SELECT DISTINCT company_id, NULL::text AS user_id FROM analytics_event_volume_hourly
    UNION
    SELECT company_id, user_id FROM analytics_users WHERE NOT analytics_is_id(user_id, %(unseen)s)
    UNION
    SELECT e.company_id, e.user_id
    FROM unnest(analytics_open_windows('analytics_users', now())) AS r
    CROSS JOIN LATERAL (
        SELECT DISTINCT o.company_id, o.user_id
        FROM analytics_events AS o
        WHERE o."timestamp" >= coalesce(lower(r), '-infinity') AND o."timestamp" < upper(r)
          AND NOT analytics_is_id(o.user_id, %(unseen)s)
    ) AS e
) AS named
WHERE NOT analytics_is_id(coalesce(user_id, company_id), %(unseen)s)
ORDER BY company_id COLLATE "C", user_id COLLATE "C" NULLS FIRST


-- name: ingest_closed_before
-- Up to where aggregates have been materialised: TimescaleDB logs changes before this instant, as the span from
-- the first to the last changed row of each transaction, and none after it. No row: there is no aggregate.
-- Before the first refresh it stands at the beginning of time, which no client type holds, nor the end of it.
SELECT least(
    greatest(_timescaledb_functions.to_timestamp(threshold.watermark), timestamptz '1970-01-01 00:00:00+00'),
    timestamptz '9999-01-01 00:00:00+00'
)
FROM _timescaledb_catalog.continuous_aggs_invalidation_threshold AS threshold
JOIN _timescaledb_catalog.hypertable ON hypertable.id = threshold.hypertable_id
WHERE to_regclass(quote_ident(hypertable.schema_name) || '.' || quote_ident(hypertable.table_name))
    = to_regclass('analytics_events')


-- name: ingest_conflicts
-- Each contradiction once, however often it is found. One that was replaced is open again when what was replaced then
-- is stored anew; one that somebody has decided to keep stays decided. By meaning, as jsonb compares: 12.0 is 12.00.
INSERT INTO analytics_event_conflicts AS known (
    event_id, "timestamp", company_id, stored, sent, source, line_number, outcome, decided_at
)
SELECT DISTINCT ON (event_id, "timestamp", stored, sent)
    event_id, "timestamp", company_id, stored, sent, %(source)s, line_number, %(outcome)s,
    CASE WHEN %(outcome)s <> 'open' THEN now() END
FROM jsonb_to_recordset(%(conflicts)s::jsonb) AS conflict (
    event_id    uuid,
    "timestamp" timestamptz,
    company_id  text,
    stored      jsonb,
    sent        jsonb,
    line_number bigint
)
WHERE stored <> sent
ORDER BY event_id, "timestamp", stored, sent, line_number
ON CONFLICT (event_id, "timestamp", jsonb_hash_extended(stored, 0), jsonb_hash_extended(sent, 0)) DO UPDATE SET
    source = excluded.source,
    line_number = excluded.line_number,
    outcome = excluded.outcome,
    decided_at = excluded.decided_at
WHERE 'replaced' IN (known.outcome, excluded.outcome)
  AND (known.outcome <> excluded.outcome OR %(is_change)s)


-- name: ingest_conflicts_settled
-- What was sent is stored now, or a later record of its event is, whatever was stored when it was sent first.
UPDATE analytics_event_conflicts
SET outcome = 'replaced', decided_at = now()
WHERE event_id = %(event_id)s AND "timestamp" = %(timestamp)s AND outcome = 'open' AND sent = %(sent)s::jsonb


-- name: ingest_copy
COPY analytics_events_staging (
    position, event_id, "timestamp", company_id, user_id, event_type, category, value, currency, metadata
) FROM STDIN (FORMAT binary)


-- name: ingest_copy_events
COPY analytics_events (
    event_id, "timestamp", company_id, user_id, event_type, category, value, currency, metadata
) FROM STDIN (FORMAT binary)


-- name: ingest_differing
-- Staged events of a stretch of time that are not what is stored under their id and instant, with what is. An event
-- that is not stored under its own company is another company's: then nothing of it is returned. Ids that are stored in
-- another normal form of Unicode than C, as they came before there was one, are the same ids.
SELECT
    s.position, e.company_id,
    e.user_id, e.event_type, e.category, e.value, e.currency, e.metadata::text
FROM (
    SELECT * FROM analytics_events_staging WHERE "timestamp" >= %(first)s AND "timestamp" <= %(last)s
) AS s
-- FULL, and below a condition that doesn't turn it into LEFT: the server knows nothing of the staged events and little of
-- a chunk that has just been filled, takes both for a few rows, and would compare each with each. So it hashes.
FULL JOIN (
    SELECT *
    FROM analytics_events
    -- The staged events' own bounds: chunks and compressed segments outside of them are not opened.
    WHERE "timestamp" >= %(first)s AND "timestamp" <= %(last)s
      AND (%(companies)s::text[] IS NULL OR company_id = ANY (%(companies)s::text[]))
) AS e ON e.event_id = s.event_id AND e."timestamp" = s."timestamp" AND normalize(e.company_id) = s.company_id
WHERE coalesce(s.position, -1) >= 0
  -- By meaning: 120.0 is 120.00, and the keys of metadata have no order.
  AND (normalize(e.company_id), normalize(e.user_id), e.event_type, e.category, e.value, e.currency, e.metadata)
      IS DISTINCT FROM
      (s.company_id, s.user_id, s.event_type, s.category, s.value, s.currency, s.metadata::jsonb)
ORDER BY s.position


-- name: ingest_insert_recordset
-- One statement for a whole batch where COPY FROM STDIN is refused, or where it isn't worth its round trips. Returns the
-- positions of those that were known: they alone are compared with what is stored. Of two records of one batch with the
-- same key the first is stored, and the caller knows the other one.
WITH sent AS MATERIALIZED (
    SELECT *
    FROM jsonb_to_recordset(%s::jsonb) AS event (
        position    integer,
        event_id    uuid,
        "timestamp" timestamptz,
        company_id  text,
        user_id     text,
        event_type  text,
        category    text,
        value       numeric,
        currency    text,
        metadata    jsonb
    )
),
added AS (
    INSERT INTO analytics_events (
        event_id, "timestamp", company_id, user_id, event_type, category, value, currency, metadata
    )
    SELECT event_id, "timestamp", company_id, user_id, event_type, category, value, currency, metadata
    FROM sent
    ON CONFLICT (event_id, "timestamp") DO NOTHING
    RETURNING event_id, "timestamp"
)
-- NOT IN, which hashes: the server knows nothing of how many there are, and would compare each with each.
SELECT position FROM sent WHERE (event_id, "timestamp") NOT IN (SELECT event_id, "timestamp" FROM added)


-- name: ingest_insert_staging
-- In the order of the file: of two records of one batch with the same key the first is stored.
INSERT INTO analytics_events (
    event_id, "timestamp", company_id, user_id, event_type, category, value, currency, metadata
)
SELECT event_id, "timestamp", company_id, user_id, event_type, category, value, currency, metadata::jsonb
FROM analytics_events_staging
ON CONFLICT (event_id, "timestamp") DO NOTHING


-- name: ingest_replace
-- When it arrived stays: by that changes of a subscription at one instant are ordered, and a corrected one keeps its
-- place. Company and time are named as constants: of a compressed chunk only the batch that holds the event is unpacked.
UPDATE analytics_events SET
    user_id = %(user_id)s,
    event_type = %(event_type)s,
    category = %(category)s,
    value = %(value)s,
    currency = %(currency)s,
    metadata = %(metadata)s::jsonb
WHERE company_id = %(company_id)s AND "timestamp" = %(timestamp)s AND event_id = %(event_id)s


-- name: ingest_stage_recordset
-- Events to compare with what is stored, where COPY FROM STDIN is refused or isn't worth its round trips.
INSERT INTO analytics_events_staging
SELECT event.* FROM jsonb_populate_recordset(NULL::analytics_events_staging, %s::jsonb) AS event


-- name: ingest_staging
-- Where COPY puts a batch before it is inserted, and where events are compared with what is stored. Lives as long as
-- the session, empty between transactions.
CREATE TEMPORARY TABLE IF NOT EXISTS analytics_events_staging (
    position    integer,
    event_id    uuid,
    "timestamp" timestamptz,
    company_id  text,
    user_id     text,
    event_type  text,
    category    text,
    value       numeric,
    currency    text,
    metadata    text
) ON COMMIT DELETE ROWS;
-- An earlier batch of the same transaction may still be there.
TRUNCATE analytics_events_staging;
