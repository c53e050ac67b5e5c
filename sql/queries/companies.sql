-- name: company_is_known
SELECT analytics_company_is_known(%(company_id)s)


-- name: company_names
SELECT company_id, name FROM analytics_companies WHERE name IS NOT NULL


-- name: companies_of
SELECT company_id, name, time_zone, currency, locale, is_test
FROM analytics_company_rows(%(companies)s::text[])


-- name: company_rows
-- What is known of every company that has a row, by id.
SELECT company_id, name, time_zone, currency, locale, is_test, by_hand, changed_at
FROM analytics_companies
ORDER BY company_id COLLATE "C"


-- name: company_remove
-- From here on the platform's settings count for the company.
DELETE FROM analytics_companies
WHERE company_id = %(company_id)s
RETURNING name, time_zone, currency, locale, is_test


-- name: company_store
-- Store what is said of companies, each once: the fields that are given, and not those that a person has set unless a
-- person sets them now (by_hand). One that a person sets to null is as a source has it from then on. The rows that are
-- other now, and how they were before (null: there was none).
WITH merged AS MATERIALIZED (
    SELECT
        g.company_id,
        CASE WHEN c.company_id IS NOT NULL THEN jsonb_build_object(
            'name', c.name, 'time_zone', c.time_zone, 'currency', c.currency, 'locale', c.locale,
            'is_test', c.is_test, 'by_hand', c.by_hand
        ) END AS before,
        CASE WHEN t.given ? 'name' THEN t.given ->> 'name' ELSE c.name END AS name,
        CASE WHEN t.given ? 'time_zone' THEN t.given ->> 'time_zone' ELSE c.time_zone END AS time_zone,
        CASE WHEN t.given ? 'currency' THEN t.given ->> 'currency' ELSE c.currency END AS currency,
        CASE WHEN t.given ? 'locale' THEN t.given ->> 'locale' ELSE c.locale END AS locale,
        CASE WHEN t.given ? 'is_test' THEN coalesce((t.given ->> 'is_test')::boolean, false)
             ELSE coalesce(c.is_test, false) END AS is_test,
        CASE
            WHEN %(by_hand)s THEN ARRAY(
                SELECT h.field FROM unnest(c.by_hand) AS h (field) WHERE NOT t.given ? h.field
                UNION
                SELECT f.key FROM jsonb_each_text(t.given) AS f WHERE f.value IS NOT NULL
                ORDER BY 1
            )
            ELSE coalesce(c.by_hand, '{}')
        END AS by_hand
    FROM jsonb_to_recordset(%(companies)s::jsonb) AS g (company_id text, fields jsonb)
    LEFT JOIN analytics_companies AS c ON c.company_id = g.company_id
    CROSS JOIN LATERAL (
        SELECT CASE WHEN %(by_hand)s THEN g.fields ELSE g.fields - coalesce(c.by_hand, '{}') END AS given
    ) AS t
),
stored AS (
    INSERT INTO analytics_companies AS c (company_id, name, time_zone, currency, locale, is_test, by_hand)
    SELECT m.company_id, m.name, m.time_zone, m.currency, m.locale, m.is_test, m.by_hand
    FROM merged AS m
    WHERE m.before IS DISTINCT FROM to_jsonb(m) - '{company_id,before}'::text[]
    ON CONFLICT (company_id) DO UPDATE
    SET name = excluded.name,
        time_zone = excluded.time_zone,
        currency = excluded.currency,
        locale = excluded.locale,
        is_test = excluded.is_test,
        by_hand = excluded.by_hand,
        changed_at = now()
    RETURNING c.company_id
)
SELECT m.company_id, m.before
FROM merged AS m
JOIN stored AS s ON s.company_id = m.company_id
ORDER BY m.company_id COLLATE "C"


-- name: local_windows
-- The instants at which half-open periods of dates begin and end in a time zone.
SELECT analytics_local_start(p.first, %(zone)s), analytics_local_start(p.until, %(zone)s)
FROM unnest(%(firsts)s::date[], %(ends)s::date[]) WITH ORDINALITY AS p (first, until, place)
ORDER BY p.place


-- name: time_zones
SELECT time_zone FROM analytics_time_zones()
