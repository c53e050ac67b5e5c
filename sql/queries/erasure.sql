-- name: erasure_aggregates
-- The aggregates that have one of some columns, each with the table that holds its stored rows.
SELECT
    ca.view_name::text, ca.materialization_hypertable_schema::text, ca.materialization_hypertable_name::text,
    a.attname::text
FROM timescaledb_information.continuous_aggregates AS ca
JOIN pg_namespace AS n ON n.nspname = ca.materialization_hypertable_schema
JOIN pg_class AS c ON c.relnamespace = n.oid AND c.relname = ca.materialization_hypertable_name
JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE ca.view_schema = current_schema() AND a.attname = ANY (%(columns)s)
ORDER BY 1


-- name: erasure_begin
-- One that was begun goes on. The first pseudonym is what records are recorded under, whichever id they name.
WITH begun AS (
    INSERT INTO analytics_erasures AS e (kind, pseudonym)
    VALUES (%(kind)s, %(pseudonym)s)
    ON CONFLICT (pseudonym) DO UPDATE SET finished_at = NULL
    RETURNING e.erasure_id
),
named AS (
    INSERT INTO analytics_erased_ids AS i (digest, erasure_id, stored_as, recorded_as, in_texts)
    SELECT d.digest, b.erasure_id, d.stored_as, %(pseudonym)s, d.in_texts
    FROM begun AS b
    CROSS JOIN unnest(%(digests)s::bytea[], %(stored_as)s::text[], %(in_texts)s::boolean[])
        AS d (digest, stored_as, in_texts)
    ON CONFLICT (digest) DO UPDATE SET in_texts = excluded.in_texts
)
SELECT b.erasure_id FROM begun AS b


-- name: erasure_begun
-- The ids of the erasure to which one of them belongs, and what took their places.
SELECT i.digest, i.stored_as
FROM analytics_erased_ids AS n
JOIN analytics_erased_ids AS i ON i.erasure_id = n.erasure_id
WHERE n.digest = %(digest)s


-- name: erasure_columns
-- The columns that may hold text of the tables of this program, each with how its table knows the company, whether it
-- is an array, and whether it is JSON. Neither generated columns nor the parts of hypertables.
SELECT
    c.relname::text, a.attname::text,
    CASE t.typname WHEN 'json' THEN 'json' WHEN 'jsonb' THEN 'json' WHEN 'bytea' THEN 'bytes'
         ELSE CASE WHEN t.typcategory = 'A' THEN 'list' ELSE 'text' END END,
    EXISTS (
        SELECT FROM pg_attribute AS o WHERE o.attrelid = c.oid AND o.attname = 'company_id' AND NOT o.attisdropped
    )
FROM pg_class AS c
JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
JOIN pg_type AS t ON t.oid = a.atttypid
LEFT JOIN pg_type AS e ON e.oid = t.typelem AND t.typcategory = 'A'
WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND c.relname <> 'analytics_events'
  AND (t.typcategory = 'S' OR t.typname IN ('json', 'jsonb', 'bytea') OR e.typcategory = 'S')
  AND NOT EXISTS (
      SELECT FROM pg_depend AS d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
  )
ORDER BY c.relname, a.attnum


-- name: erasure_company_changed
-- Figures over all companies are to be computed again from the company's first event on, where events are there.
INSERT INTO analytics_metric_changes (company_id, changed_from, is_platform, cause)
SELECT NULL, min(f.instant), true, 'a company that was erased'
FROM (
    SELECT min(u.first_seen) FROM analytics_users AS u WHERE u.company_id = %(company)s
    UNION ALL
    SELECT min(s.valid_from) FROM analytics_subscriptions AS s WHERE s.company_id = %(company)s
    UNION ALL
    SELECT min(m.period_start) FROM analytics_revenue_metrics AS m WHERE m.company_id = %(company)s
) AS f (instant)
HAVING min(f.instant) IS NOT NULL


-- name: erasure_delete_aliases
DELETE FROM analytics_id_aliases
WHERE company_id = %(company)s
  AND (%(user)s::text IS NULL OR present = ANY (%(ids)s) OR former_user_id = ANY (%(ids)s))
   OR %(user)s::text IS NULL AND former_user_id IS NULL AND present = %(company)s


-- name: erasure_delete_events
DELETE FROM analytics_events
WHERE company_id = %(company)s AND "timestamp" >= %(day)s AND "timestamp" < %(day)s + interval '1 day'


-- name: erasure_delete_rejected_rows
DELETE FROM analytics_source_rejects WHERE row ->> 'company_id' = %(company)s


-- name: erasure_delete_replays
DELETE FROM analytics_api_replays AS r
USING analytics_api_tokens AS t
WHERE t.company_id = %(company)s AND r.caller = t.token_id


-- name: erasure_document
-- The documents of a checksum: the same bytes may be of several periods.
SELECT
    d.document_id, d.company_id, d.period, d.period_end, d.name, d.sha256, d.definitions_version, d.data_through,
    d.shown_figures, d.cautions, d.is_current,
    EXISTS (SELECT FROM analytics_signoffs AS s WHERE s.document_id = d.document_id) AS is_signed
FROM analytics_report_documents AS d
WHERE d.sha256 = %(sha256)s


-- name: erasure_document_gone
UPDATE analytics_report_documents SET erased_at = now() WHERE document_id = %(document_id)s


-- name: erasure_document_named
-- The checksum of the document that counts under a name of the store.
SELECT sha256 FROM analytics_report_documents WHERE name = %(name)s AND is_current


-- name: erasure_event_days
-- The days (UTC) with events of a company, or with those of some of its users or that may name them in their metadata.
SELECT DISTINCT date_trunc('day', "timestamp", 'UTC')
FROM analytics_events
WHERE company_id = %(company)s
  AND (%(users)s::text[] IS NULL OR user_id = ANY (%(users)s) OR lower(metadata::text) LIKE ANY (%(patterns)s::text[]))
ORDER BY 1


-- name: erasure_event_texts
-- The events of a company that may name some of its users, as text.
SELECT coalesce(user_id = ANY (%(users)s), false), concat_ws(' ', event_type, metadata)
FROM analytics_events
WHERE company_id = %(company)s
  AND (user_id = ANY (%(users)s) OR lower(concat_ws(' ', event_type, metadata)) LIKE ANY (%(patterns)s::text[]))


-- name: erasure_events
SELECT count(*)
FROM analytics_events
WHERE company_id = %(company)s
  AND (%(users)s::text[] IS NULL OR user_id = ANY (%(users)s) OR lower(metadata::text) LIKE ANY (%(patterns)s::text[]))


-- name: erasure_events_of_day
SELECT event_id, "timestamp", company_id, user_id, event_type, category, value, currency, metadata::text
FROM analytics_events
WHERE company_id = %(company)s AND "timestamp" >= %(day)s AND "timestamp" < %(day)s + interval '1 day'
  AND (user_id = ANY (%(users)s) OR lower(metadata::text) LIKE ANY (%(patterns)s::text[]))


-- name: erasure_file_gone
-- A workbook of a document, and what messages say of it.
WITH gone AS (
    DELETE FROM analytics_report_files AS f WHERE f.name = %(name)s AND f.format <> 'pdf'
    RETURNING f.document_id, f.sha256
)
UPDATE analytics_outbox AS o SET
    attachment_sha256 = NULL, attachment_size = NULL, attachment_uri = NULL, attachment_name = NULL,
    attachment_file = NULL
FROM gone AS g
WHERE o.document_id = g.document_id AND o.attachment_sha256 = g.sha256


-- name: erasure_finish
UPDATE analytics_erasures SET finished_at = clock_timestamp(), places = %(places)s
WHERE erasure_id = %(erasure_id)s


-- name: erasure_is_known
-- Whether anything is kept of a company, or of a user of it, here.
SELECT
    EXISTS (SELECT FROM analytics_users AS u WHERE u.company_id = %(company)s AND u.user_id = ANY (%(users)s))
    OR EXISTS (SELECT FROM analytics_events AS e WHERE e.company_id = %(company)s AND e.user_id = ANY (%(users)s))
    OR EXISTS (
        SELECT FROM analytics_user_activity_monthly AS a WHERE a.company_id = %(company)s AND a.user_id = ANY (%(users)s)
    )
    OR EXISTS (
        SELECT FROM analytics_subscriptions AS s
        WHERE s.company_id = %(company)s
          AND (s.user_id = ANY (%(users)s) OR s.event_user_id = ANY (%(users)s))
    )


-- name: erasure_json_texts
-- Values of JSON as the database writes them.
SELECT array_agg(v.value::jsonb::text ORDER BY v.place)
FROM unnest(%(values)s::text[]) WITH ORDINALITY AS v (value, place)


-- name: erasure_key
INSERT INTO analytics_erasure_key (key)
VALUES (decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex'))
ON CONFLICT DO NOTHING


-- name: erasure_keys_gone
DELETE FROM analytics_document_keys WHERE name = %(name)s


-- name: erasure_lengths
-- That some id of several words has so many characters: of no person, so it stays when a person's digest is deleted.
INSERT INTO analytics_erased_ids (digest, erasure_id, stored_as, recorded_as, in_texts)
SELECT l.digest, %(erasure_id)s, '', '', false
FROM unnest(%(digests)s::bytea[]) AS l (digest)
ON CONFLICT DO NOTHING


-- name: erasure_may_be_done
-- Whether this role may change every table: it is the owner's, or a member of it.
SELECT pg_has_role(current_user, c.relowner, 'MEMBER'), pg_get_userbyid(c.relowner)::text
FROM pg_class AS c
WHERE c.oid = to_regclass('analytics_events')


-- name: erasure_names
-- The present name of a company's user, and its former ones.
SELECT present, former_user_id
FROM analytics_id_aliases
WHERE company_id = %(company)s AND former_user_id IS NOT NULL
  AND (present = %(user)s OR former_user_id = %(user)s)


-- name: erasure_messages
-- The names of the mails about a company.
SELECT message_id FROM analytics_outbox WHERE company_id = %(company)s AND message_id IS NOT NULL


-- name: erasure_remade_document
UPDATE analytics_report_documents SET sha256 = %(sha256)s, size = %(size)s, pages = %(pages)s, erased_at = now()
WHERE document_id = %(document_id)s


-- name: erasure_remade_file
UPDATE analytics_report_files SET sha256 = %(sha256)s, size = %(size)s
WHERE document_id = %(document_id)s AND format = 'pdf'


-- name: erasure_remade_keys
DELETE FROM analytics_document_keys WHERE sha256 = %(before)s


-- name: erasure_remade_message
UPDATE analytics_outbox SET attachment_sha256 = %(sha256)s, attachment_size = %(size)s
WHERE document_id = %(document_id)s AND attachment_sha256 = %(before)s


-- name: erasure_remade_signoff
UPDATE analytics_signoffs SET document_sha256 = %(sha256)s
WHERE document_id = %(document_id)s


-- name: erasure_update_events
UPDATE analytics_events AS e SET user_id = c.user_id, metadata = c.metadata::jsonb
FROM unnest(%(event_ids)s::uuid[], %(timestamps)s::timestamptz[], %(user_ids)s::text[], %(metadata)s::text[])
    AS c (event_id, instant, user_id, metadata)
WHERE e.company_id = %(company)s AND e."timestamp" >= %(day)s AND e."timestamp" < %(day)s + interval '1 day'
  AND e.event_id = c.event_id AND e."timestamp" = c.instant
