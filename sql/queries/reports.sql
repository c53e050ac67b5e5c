-- name: report_changes
-- Changes of users, subscriptions and rates that closed figures of a period have not seen, but those that keep theirs
-- since their events have expired; without a company they concern every one.
SELECT DISTINCT (u.change).company_id, (u.change).cause
FROM analytics_unseen_changes() AS u
WHERE (u.period).period_start < %(end)s AND (u.period).period_end > %(start)s
  -- Of a year that has not seen a change the month of the period may have.
  AND (u.period).granularity <> 'year' AND NOT analytics_is_kept(u.period, %(horizon)s)
  AND (%(company)s::text IS NULL OR (u.change).company_id IS NULL OR (u.change).company_id = %(company)s)
ORDER BY 2


-- name: report_closed_movements
-- Closed periods of mrr_movements, of each company or (together) of all that are asked for; last whether amounts are left
-- out for want of a rate.
SELECT
    r.company_id, r.period_start,
    r.start_mrr, r.new, r.reactivation, r.expansion, r.contraction, r.churn, r.fx, r.end_mrr,
    r.unconverted <> '[]'
FROM analytics_closed_movements(
    %(granularity)s, %(start)s, %(end)s, %(companies)s::text[], %(together)s
) AS r
WHERE r.period_start = ANY (%(starts)s::timestamptz[]) AND r.currency = %(currency)s


-- name: report_closed_periods
-- Of some periods, by their instants, those closed in the calendar of whoever is asked for and, where they convert, in the
-- reporting currency: by which version of the definitions, and whether their figures stand. Those of today's definitions do
-- if they have seen every change, and are then what the functions give; those of another version if their events have
-- expired. Of every company by itself they serve while all of them have one calendar, the platform's.
SELECT
    m.metric, m.period_start, m.definitions_version,
    CASE
        WHEN m.definitions_version = %(version)s
        THEN NOT EXISTS (
            SELECT
            FROM analytics_unseen_changes() AS u
            WHERE (u.period).metric = m.metric AND (u.period).granularity = m.granularity
              AND (u.period).period_date = m.period_date AND (u.period).time_zone = m.time_zone
              AND (u.period).currency = m.currency
        ) AND CASE
            WHEN NOT %(each)s THEN true
            WHEN %(company)s::text IS NULL THEN analytics_moved_companies(m.changes_seen, m.period_start) IS NULL
            ELSE (%(company)s = ANY (analytics_moved_companies(m.changes_seen, m.period_start))) IS NOT TRUE
        END
        ELSE analytics_is_behind_horizon(m, %(horizon)s)
    END
FROM unnest(%(starts)s::timestamptz[], %(ends)s::timestamptz[]) AS w (period_start, period_end)
JOIN analytics_metric_periods AS m ON m.period_start = w.period_start AND m.period_end = w.period_end
LEFT JOIN analytics_closed_calendars() AS k ON k.company_id = %(company)s::text
WHERE m.granularity = %(granularity)s
  AND (m.currency = %(currency)s OR m.metric <> ALL (%(converting)s))
  AND CASE
      WHEN k.company_id IS NULL THEN m.is_platform
      ELSE m.time_zone = k.time_zone AND m.currency = k.currency
  END
  AND (
      %(company)s::text IS NOT NULL OR NOT %(each)s
      OR NOT EXISTS (
          SELECT FROM analytics_closed_calendars() AS o WHERE (o.time_zone, o.currency) <> (m.time_zone, m.currency)
      )
  )
  AND (NOT %(each)s OR NOT analytics_keeps_calendar(%(company)s, m))


-- name: report_closed_revenue
-- Closed periods of revenue_metrics, of each company or (together) of all that are asked for; last the figures that lack
-- amounts without a rate.
SELECT
    r.company_id, r.period_start, r.total_revenue, r.revenue_growth, r.invoiced, r.refunds, r.mrr, r.paying_customers,
    jsonb_path_query_array(r.unconverted, '$[*].figure')
FROM analytics_closed_revenue(
    %(granularity)s, %(start)s, %(end)s, %(companies)s::text[], %(together)s
) AS r
WHERE r.period_start = ANY (%(starts)s::timestamptz[]) AND r.currency = %(currency)s


-- name: report_closed_users
-- Closed periods of user_metrics, of each company or (together) of all that are asked for.
SELECT r.company_id, r.period_start, r.total_users, r.active_users, r.new_users, r.churned_users
FROM analytics_closed_users(
    %(granularity)s, %(start)s, %(end)s, %(companies)s::text[], %(together)s
) AS r
WHERE r.period_start = ANY (%(starts)s::timestamptz[])


-- name: report_crypto
-- Crypto volumes of a period, of each company or (each false) of all that are asked for together.
SELECT
    CASE WHEN %(each)s THEN v.company_id END,
    v.ticker, v.event_type, sum(v.quantity), sum(v.transactions)::bigint,
    CASE WHEN bool_and(v.converted IS NOT NULL) THEN sum(v.converted) END
FROM analytics_crypto_volumes(%(company)s, %(start)s, %(end)s, %(currency)s, %(zone)s, %(each)s) AS v
GROUP BY 1, 2, 3
ORDER BY 2, 3


-- name: report_currencies
-- Revenue in its original currencies and at the rates of its days, of each company or (each false) of all that are
-- asked for together; a row per currency and, where something was refunded, per currency and day.
WITH amount AS MATERIALIZED (
    SELECT
        CASE WHEN %(each)s THEN r.company_id END AS company_id, r.currency, r.day,
        sum(r.original) AS revenue, -sum(r.refunds) AS refunds, sum(r.transactions)::bigint AS transactions,
        sum(r.converted) AS converted, -sum(r.refunded) AS refunded
    FROM analytics_converted_revenue(
        ARRAY(
            SELECT ROW(c.company_id, %(start)s, %(end)s, %(currency)s, %(zone)s)::analytics_figure_period
            FROM unnest(
                -- All of them together are without those for tests, each by itself is not.
                CASE WHEN %(each)s AND %(company)s::text IS NULL THEN analytics_companies_of(%(start)s, %(end)s)
                     ELSE ARRAY[%(company)s::text] END
            ) AS c (company_id)
        ),
        true
    ) AS r
    WHERE r.figure = 'totalRevenue'
    GROUP BY 1, 2, 3
),
rate AS MATERIALIZED (
    SELECT k.currency, k.day, analytics_fraction(1, fx.numerator, fx.denominator) AS rate
    FROM (SELECT DISTINCT a.currency, a.day FROM amount AS a) AS k
    CROSS JOIN LATERAL analytics_fx_rate(k.currency, %(currency)s, k.day) AS fx
)
SELECT
    a.company_id, a.currency, a.day,
    sum(a.revenue), sum(a.refunds), sum(a.transactions)::bigint,
    sum(a.converted), sum(a.refunded),
    min(r.rate), max(r.rate),
    CASE WHEN bool_and(a.converted IS NOT NULL) AND sum(a.revenue) <> 0
         THEN analytics_fraction(sum(a.converted), 1, sum(a.revenue)) END
FROM amount AS a
LEFT JOIN rate AS r ON r.currency = a.currency AND r.day = a.day
GROUP BY GROUPING SETS ((a.company_id, a.currency), (a.company_id, a.currency, a.day))
HAVING GROUPING(a.day) = 1 OR sum(a.refunds) <> 0
ORDER BY a.company_id, a.currency, a.day


-- name: report_document_changes
-- The figures in which others differ from those of the document that counts, of the same definitions, its cautions and its locale.
SELECT analytics_changed_figures_list(d.shown_figures, %(shown)s), d.cautions, d.locale
FROM analytics_report_documents AS d
WHERE d.report = %(report)s AND d.company_id IS NOT DISTINCT FROM %(company_id)s::text AND d.period = %(period)s
  AND d.is_current AND d.definitions_version = %(version)s


-- name: report_document_corrections
-- The figures in which a new document differs from the newest earlier one, of the same definitions, that has others.
SELECT analytics_changed_figures_list(d.shown_figures, %(shown)s)
FROM analytics_report_documents AS d
WHERE d.report = %(report)s AND d.company_id IS NOT DISTINCT FROM %(company_id)s::text AND d.period = %(period)s
  AND d.definitions_version = %(version)s AND NOT d.provisional
  AND EXISTS (SELECT FROM analytics_changed_figures(d.shown_figures, %(shown)s))
ORDER BY d.rendered_at DESC, d.document_id DESC
LIMIT 1


-- name: report_document_current
-- The document of a report, a company and a period that counts.
SELECT
    document_id, report, company_id, period, period_end, uri, name, size, sha256, pages,
    figures, data_through, provisional, definitions_version, cautions, corrections, locale, held_because, judged_at
FROM analytics_report_documents
WHERE report = %(report)s AND company_id IS NOT DISTINCT FROM %(company_id)s::text AND period = %(period)s AND is_current


-- name: report_document_record
-- A document that was rendered counts from now on; the same bytes again are the same document.
WITH recorded AS (
    INSERT INTO analytics_report_documents (
        report, company_id, period, period_end, uri, name, size, sha256, pages, figures,
        data_through, provisional, definitions_version, cautions, corrections, locale, shown_figures, run_id
    )
    VALUES (
        %(report)s, %(company_id)s, %(period)s, %(period_end)s, %(uri)s, %(name)s, %(size)s, %(sha256)s, %(pages)s,
        %(figures)s, %(data_through)s, %(provisional)s, %(definitions_version)s, %(cautions)s, %(corrections)s,
        %(locale)s, %(shown_figures)s, %(run_id)s
    )
    ON CONFLICT (report, audience, period, sha256) DO UPDATE
    SET uri = excluded.uri,
        name = excluded.name,
        pages = excluded.pages,
        figures = excluded.figures,
        data_through = excluded.data_through,
        provisional = excluded.provisional,
        definitions_version = excluded.definitions_version,
        cautions = excluded.cautions,
        corrections = excluded.corrections,
        locale = excluded.locale,
        shown_figures = excluded.shown_figures,
        rendered_at = now(),
        run_id = excluded.run_id,
        is_current = true,
        held_because = DEFAULT,
        judged_at = NULL
    RETURNING document_id, uri, name, size, sha256
),
file AS (
    INSERT INTO analytics_report_files (document_id, format, uri, name, size, sha256)
    SELECT document_id, 'pdf', uri, name, size, sha256
    FROM recorded
    ON CONFLICT (document_id, format) DO UPDATE SET uri = excluded.uri, name = excluded.name
)
SELECT document_id FROM recorded


-- name: report_document_supersede
-- Another document takes this one's place.
UPDATE analytics_report_documents
SET is_current = false
WHERE report = %(report)s AND company_id IS NOT DISTINCT FROM %(company_id)s::text AND period = %(period)s AND is_current


-- name: report_documents_due
-- Whose report of which month somebody is to get by now, of a month that is closed there and has no document since it
-- ended; of a company that has had events.
SELECT DISTINCT r.company_id, m.month
FROM analytics_report_recipients AS r
CROSS JOIN LATERAL (SELECT analytics_zone_of(r.company_id, %(zone)s) AS time_zone) AS z
CROSS JOIN LATERAL (
    SELECT (date_trunc('month', analytics_local_date(now(), z.time_zone)) - n * interval '1 month')::date AS month
    FROM generate_series(1, 2) AS n
) AS m
CROSS JOIN LATERAL (
    SELECT analytics_local_start((m.month + interval '1 month')::date, z.time_zone) AS period_end
) AS p
WHERE r.report = %(report)s AND r.active
  AND p.period_end > now() - %(within)s
  AND analytics_report_due(r, p.period_end, p.period_end, %(zone)s) <= now()
  AND NOT EXISTS (
      SELECT
      FROM analytics_report_documents AS d
      WHERE d.report = r.report AND d.audience = r.audience AND d.period = to_char(m.month, 'YYYY-MM')
        AND d.is_current AND d.rendered_at >= d.period_end
  )
  AND (r.company_id IS NULL OR EXISTS (
      SELECT
      FROM analytics_event_volume_hourly AS v
      WHERE v.company_id = r.company_id AND v.bucket < p.period_end
  ))
  AND analytics_closed_for(r.company_id, 'month', m.month)
ORDER BY m.month, r.company_id NULLS FIRST


-- name: report_documents_hold
-- Keep documents that count from being mailed, or let go those that were made before they were judged.
UPDATE analytics_report_documents AS d
SET held_because = %(because)s,
    judged_at = CASE WHEN %(because)s::text IS NOT NULL AND %(by_data)s THEN now() END
WHERE d.report = %(report)s AND d.period = %(period)s AND d.is_current
  AND CASE
      WHEN d.company_id IS NULL THEN %(of_all)s
      ELSE %(companies)s::text[] IS NULL OR d.company_id = ANY (%(companies)s::text[])
  END
  AND (d.held_because IS DISTINCT FROM %(because)s OR (%(because)s::text IS NOT NULL AND %(by_data)s))
  AND (%(because)s::text IS NOT NULL OR %(before)s::timestamptz IS NULL OR d.rendered_at < %(before)s)


-- name: report_documents_withdraw
-- Documents of companies that have no figures in the period any more count no longer.
UPDATE analytics_report_documents
SET is_current = false
WHERE report = %(report)s AND period = %(period)s AND is_current
  AND company_id IS NOT NULL AND company_id <> ALL (%(companies)s::text[])


-- name: report_events
-- The most frequent event types of whole days and the number of all events, of each company or (each false) of all
-- that are asked for together.
SELECT e.company_id, e.event_type, e.category, e.events, e.all_events
FROM (
    SELECT
        v.*,
        row_number() OVER (PARTITION BY v.company_id ORDER BY v.events DESC, v.event_type, v.category) AS place,
        sum(v.events) OVER (PARTITION BY v.company_id)::bigint AS all_events
    FROM (
        SELECT
            CASE WHEN %(each)s THEN h.company_id END AS company_id,
            h.event_type, h.category, sum(h.event_count)::bigint AS events
        FROM (
            SELECT v.company_id, v.event_type, v.category, v.event_count
            FROM analytics_event_volume_hourly AS v
            WHERE v.bucket >= analytics_ceil('hour', %(start)s) AND v.bucket < analytics_floor('hour', %(end)s)
              AND (%(company)s::text IS NULL OR v.company_id = %(company)s)
            UNION ALL
            -- Days of some time zones begin and end within an hour of UTC.
            SELECT e.company_id, e.event_type, e.category, 1
            FROM (
                VALUES
                    (%(start)s::timestamptz, analytics_ceil('hour', %(start)s)),
                    (analytics_floor('hour', %(end)s), %(end)s::timestamptz)
            ) AS edge (edge_start, edge_end)
            JOIN analytics_events AS e ON e."timestamp" >= edge.edge_start AND e."timestamp" < edge.edge_end
            WHERE edge.edge_start < edge.edge_end AND (%(company)s::text IS NULL OR e.company_id = %(company)s)
        ) AS h
        WHERE %(each)s OR %(company)s::text IS NOT NULL OR h.company_id <> ALL ((SELECT analytics_test_companies())::text[])
        GROUP BY 1, 2, 3
    ) AS v
) AS e
WHERE e.place <= %(most)s
ORDER BY e.place


-- name: report_file_record
-- A file of a document; one that was made meanwhile stays.
INSERT INTO analytics_report_files (document_id, format, uri, name, size, sha256)
VALUES (%(document_id)s, %(format)s, %(uri)s, %(name)s, %(size)s, %(sha256)s)
ON CONFLICT (document_id, format) DO NOTHING


-- name: report_files
-- The files there are of a document, and whether somebody gets a workbook of it that was not made yet.
SELECT
    coalesce(
        (
            SELECT jsonb_object_agg(
                f.format, jsonb_build_object('uri', f.uri, 'name', f.name, 'size', f.size, 'sha256', f.sha256)
            )
            FROM analytics_report_files AS f
            WHERE f.document_id = d.document_id
        ),
        '{}'
    ),
    EXISTS (
        SELECT
        FROM analytics_report_recipients AS r
        WHERE r.report = d.report AND r.audience = d.audience AND r.active AND r.format = 'xlsx'
          AND NOT EXISTS (
              SELECT FROM analytics_report_files AS f WHERE f.document_id = d.document_id AND f.format = 'xlsx'
          )
    )
FROM analytics_report_documents AS d
WHERE d.document_id = %(document_id)s


-- name: report_mail_earlier
-- The active recipients of a document by the one that each was mailed of its period last: what the document is to that
-- one, the version of the definitions of that one (null: they were mailed none) and the figures that differ, if it is the
-- same version; in what form and by which channel they get it, their ids, and the addresses of those who have no mail with this very revision.
SELECT
    analytics_document_relation(e, d),
    e.definitions_version,
    CASE WHEN e.definitions_version = d.definitions_version
         THEN analytics_changed_figures_list(e.shown_figures, d.shown_figures) ELSE '[]' END,
    g.format,
    g.channel,
    g.recipients,
    g.without_it
FROM analytics_report_documents AS d
CROSS JOIN LATERAL (
    SELECT
        o.document_id,
        r.format,
        r.channel,
        array_agg(r.recipient_id) AS recipients,
        coalesce(array_agg(analytics_shown_address(r) ORDER BY r.address_key) FILTER (WHERE NOT EXISTS (
            SELECT FROM analytics_outbox AS h WHERE h.recipient_id = r.recipient_id AND h.document_id = d.document_id
        )), '{}') AS without_it
    FROM analytics_report_recipients AS r
    LEFT JOIN analytics_outbox AS o ON o.outbox_id = analytics_last_mailed(r.recipient_id, d.period)
    WHERE r.report = d.report AND r.audience = d.audience AND r.active
    GROUP BY o.document_id, r.format, r.channel
) AS g
LEFT JOIN analytics_report_documents AS e ON e.document_id = g.document_id
WHERE d.document_id = %(document_id)s
ORDER BY g.document_id NULLS FIRST, g.channel, g.format


-- name: report_mail_enqueue
-- One row for each of these recipients of the document's own report and company who is due one. By itself a recipient
-- who has a row for the period, of whatever kind, gets no second one, but for a correction where the subscription asks
-- for it; old periods, and documents made before theirs had ended, go to nobody. By hand whoever has no row with this
-- very revision gets one.
INSERT INTO analytics_outbox (
    kind, channel, dedupe_key, company_id, target, subject, text_body, html_body,
    attachment_uri, attachment_name, attachment_file, attachment_sha256, attachment_size,
    report, period, document_id, recipient_id, is_correction, format, due_at, next_attempt_at
)
SELECT
    'report', r.channel, analytics_report_mail_key(d, r.address_key, %(by_hand)s OR %(is_another)s),
    d.company_id, r.address, %(subject)s, %(text)s, %(html)s,
    %(attachment_uri)s::text, %(attachment_name)s::text, %(attachment_file)s::text, %(attachment_sha256)s::text,
    %(attachment_size)s::bigint,
    d.report, d.period, d.document_id, r.recipient_id, %(by_hand)s OR %(is_another)s, %(format)s::text, w.due_at, w.due_at
FROM analytics_report_documents AS d
JOIN analytics_report_recipients AS r ON r.report = d.report AND r.audience = d.audience AND r.active
-- By hand it goes at once.
CROSS JOIN LATERAL (
    SELECT CASE WHEN %(by_hand)s THEN now() ELSE analytics_report_due(r, d.period_end, now(), %(zone)s) END
) AS w (due_at)
WHERE d.document_id = %(document_id)s AND d.is_current AND d.held_because IS NULL
  AND r.recipient_id = ANY (%(recipients)s::bigint[])
  AND CASE
      WHEN %(by_hand)s THEN NOT EXISTS (
          SELECT FROM analytics_outbox AS o WHERE o.recipient_id = r.recipient_id AND o.document_id = d.document_id
      )
      ELSE analytics_is_due_mail(r, d, %(within)s)
  END
ON CONFLICT (dedupe_key) DO NOTHING


-- name: report_mail_missing
-- How many mails are still to be enqueued.
SELECT count(*)
FROM analytics_report_documents AS d
JOIN analytics_report_recipients AS r ON r.report = d.report AND r.audience = d.audience AND r.active
WHERE d.is_current AND d.held_because IS NULL
  -- Cheap, and leaves little for the rest.
  AND (d.period_end > now() - %(within)s OR r.corrections_from <= d.rendered_at)
  AND analytics_is_due_mail(r, d, %(within)s)


-- name: report_mail_renew
-- What has not left yet to these recipients leaves as the document that counts now, in the form that they want now. Of a
-- signed month the signed one leaves, unless a person sends the other.
UPDATE analytics_outbox AS o
SET subject = %(subject)s,
    text_body = %(text)s,
    html_body = %(html)s,
    attachment_uri = %(attachment_uri)s,
    attachment_name = %(attachment_name)s,
    attachment_file = %(attachment_file)s,
    attachment_sha256 = %(attachment_sha256)s,
    attachment_size = %(attachment_size)s,
    format = %(format)s,
    -- One of a revision is that of the new one now, unless an earlier release left that key to another row.
    dedupe_key = CASE
        WHEN o.is_correction AND NOT EXISTS (
            SELECT FROM analytics_outbox AS k WHERE k.dedupe_key = analytics_report_mail_key(d, r.address_key, true)
        ) THEN analytics_report_mail_key(d, r.address_key, true)
        ELSE o.dedupe_key
    END,
    document_id = d.document_id
FROM analytics_report_documents AS d
JOIN analytics_report_recipients AS r ON r.report = d.report AND r.audience = d.audience
WHERE d.document_id = %(document_id)s AND d.is_current AND d.held_because IS NULL
  AND (%(by_hand)s OR NOT analytics_is_beside_signed(d))
  AND r.recipient_id = ANY (%(recipients)s::bigint[]) AND o.recipient_id = r.recipient_id
  AND o.period = d.period AND o.state = 'pending'
  AND (o.document_id <> d.document_id OR o.format <> %(format)s)
  AND NOT EXISTS (
      SELECT
      FROM analytics_outbox AS e
      WHERE e.recipient_id = o.recipient_id AND e.document_id = d.document_id AND e.outbox_id <> o.outbox_id
  )


-- name: report_mail_superfluous
-- Whoever has the document that counts by another mail needs none with an earlier one.
UPDATE analytics_outbox AS o
SET state = 'discarded', settled_at = now(), problem = 'its recipient has the newer document by another mail'
FROM analytics_report_documents AS d
WHERE d.document_id = %(document_id)s AND d.is_current
  AND o.report = d.report AND o.audience = d.audience AND o.period = d.period
  AND o.state = 'pending' AND o.document_id <> d.document_id
  AND EXISTS (
      SELECT
      FROM analytics_outbox AS e
      WHERE e.recipient_id = o.recipient_id AND e.document_id = d.document_id
  )


-- name: report_mail_wanted
-- Documents that count and that somebody is to get: a recipient who is due one by itself, or has a row that is due; and
-- whoever may be sent one that is held back, when it is no more. One rendered before its period had ended is none.
SELECT
    d.document_id, d.report, d.company_id, d.period, d.period_end, d.uri, d.name, d.size, d.sha256, d.pages,
    d.figures, d.data_through, d.provisional, d.definitions_version, d.cautions, d.corrections, d.locale,
    d.held_because, d.judged_at
FROM analytics_report_documents AS d
WHERE d.is_current
  AND (
      EXISTS (
          SELECT
          FROM analytics_report_recipients AS r
          WHERE r.report = d.report AND r.audience = d.audience AND r.active
            AND (
                (d.held_because IS NOT NULL AND d.rendered_at >= d.period_end)
                -- Cheap, and leaves little for the rest.
                OR (
                    (d.period_end > now() - %(within)s OR r.corrections_from <= d.rendered_at)
                    AND analytics_is_due_mail(r, d, %(within)s)
                )
            )
      )
      OR EXISTS (
          SELECT
          FROM analytics_outbox AS o
          WHERE o.state = 'pending' AND o.next_attempt_at <= now()
            AND o.report = d.report AND o.audience = d.audience AND o.period = d.period
      )
  )
ORDER BY d.period_end, d.report, d.audience


-- name: report_months_open
-- Of which companies (null: all together) the rows of a month are not closed.
SELECT c.company_id
FROM unnest(%(companies)s::text[]) AS c (company_id)
WHERE NOT analytics_closed_for(c.company_id, 'month', %(month)s)


-- name: report_older_documents
-- Months whose documents that count, the one over all companies or any of those of companies, follow other definitions
-- than today's.
SELECT DISTINCT d.company_id IS NULL, d.period
FROM analytics_report_documents AS d
WHERE d.report = %(report)s AND d.is_current AND d.definitions_version <> %(version)s


-- name: report_raw
-- What the raw events of a period say by themselves, past every aggregate, of each company or (each false) of all
-- that are asked for together.
WITH dates AS MATERIALIZED (
    SELECT ARRAY(
        SELECT analytics_local_start(%(first_day)s::date + n, %(zone)s)
        FROM generate_series(0, %(last_day)s::date + 1 - %(first_day)s::date) AS n
        ORDER BY n
    ) AS starts
),
event AS MATERIALIZED (
    SELECT
        e.company_id, e.user_id, e.category, e.event_type, e.currency, e.value,
        e."timestamp", e.ingested_at,
        %(first_day)s::date + width_bucket(e."timestamp", d.starts) - 1 AS day,
        d.starts[width_bucket(e."timestamp", d.starts) + 1] AS day_end
    FROM analytics_events AS e
    CROSS JOIN dates AS d
    WHERE e."timestamp" >= %(start)s AND e."timestamp" < %(end)s
      AND (%(company)s::text IS NULL OR e.company_id = %(company)s)
      AND (%(each)s OR %(company)s::text IS NOT NULL OR e.company_id <> ALL ((SELECT analytics_test_companies())::text[]))
),
amount AS MATERIALIZED (
    SELECT e.company_id, e.category, e.currency, e.day, sum(e.value) AS value
    FROM event AS e
    WHERE e.category IN ('revenue', 'billing') AND e.currency IS NOT NULL AND e.value IS NOT NULL
    GROUP BY 1, 2, 3, 4
),
rate AS MATERIALIZED (
    SELECT k.currency, k.day, fx.numerator, fx.denominator
    FROM (SELECT DISTINCT a.currency, a.day FROM amount AS a) AS k
    CROSS JOIN LATERAL analytics_fx_rate(k.currency, %(currency)s, k.day) AS fx
),
money AS (
    SELECT
        CASE WHEN %(each)s THEN a.company_id END AS company_id,
        sum(analytics_fraction(a.value, r.numerator, r.denominator)) FILTER (WHERE a.category = 'revenue') AS revenue,
        sum(analytics_fraction(a.value, r.numerator, r.denominator)) FILTER (WHERE a.category = 'billing') AS invoiced
    FROM amount AS a
    LEFT JOIN rate AS r ON r.currency = a.currency AND r.day = a.day
    GROUP BY 1
)
SELECT
    c.company_id, c.events, c.active_users, coalesce(m.revenue, 0), coalesce(m.invoiced, 0),
    c.late, c.after_end, c.longest_delay
FROM (
    SELECT
        CASE WHEN %(each)s THEN e.company_id END AS company_id,
        count(*) AS events,
        count(DISTINCT (e.company_id, e.user_id)) FILTER (
            WHERE e.category IN ('revenue', 'user_activity', 'crypto')
              AND e.event_type <> 'user.deleted' AND e.user_id IS NOT NULL
        ) AS active_users,
        count(*) FILTER (WHERE e.ingested_at >= e.day_end) AS late,
        count(*) FILTER (WHERE e.ingested_at >= %(end)s) AS after_end,
        max(e.ingested_at - e."timestamp") AS longest_delay
    FROM event AS e
    GROUP BY 1
) AS c
LEFT JOIN money AS m ON m.company_id IS NOT DISTINCT FROM c.company_id


-- name: report_rejects
-- Rejected records of a period (by arrival) and the kinds of reasons, of each company that a record names or
-- (each false) of all that are asked for together.
SELECT
    CASE WHEN %(each)s THEN r.company_id END, coalesce(r.kind, 'kept by an earlier version, without a kind'),
    sum(r.records)::bigint
FROM (
    SELECT i.company_id, i.kind, 1 AS records
    FROM analytics_ingest_rejects AS i
    WHERE i.rejected_at >= %(start)s AND i.rejected_at < %(end)s
    UNION ALL
    -- Beyond those that are kept.
    SELECT c.company_id, c.kind, c.records
    FROM analytics_ingest_reject_counts AS c
    WHERE c.rejected_at >= %(start)s AND c.rejected_at < %(end)s
    UNION ALL
    SELECT s.row ->> 'company_id', s.kind, 1
    FROM analytics_source_rejects AS s
    WHERE s.first_seen >= %(start)s AND s.first_seen < %(end)s
) AS r
WHERE CASE
    WHEN %(company)s::text IS NOT NULL THEN r.company_id = %(company)s
    WHEN %(each)s THEN r.company_id IS NOT NULL
    ELSE true
END
GROUP BY 1, 2
ORDER BY 3 DESC, 2


-- name: report_request_claim
-- A run takes a request that waits or has failed, as it stands now; a step that is repeated finds it its own.
UPDATE analytics_report_requests
SET state = 'running', run_id = %(run_id)s, started_at = now(), finished_at = NULL, problem = NULL
WHERE request_id = %(request_id)s
  AND (state IN ('requested', 'failed') OR (state = 'running' AND run_id = %(run_id)s))
RETURNING
    request_id, company_id, start_date, end_date, coalesce(sections, '{}'), format, currency, locale, page_size,
    state, run_id


-- name: report_request_done
-- The run that holds a request has made its document.
UPDATE analytics_report_requests
SET state = 'done', finished_at = now(), uri = %(uri)s, pages = %(pages)s, size = %(size)s, sha256 = %(sha256)s
WHERE request_id = %(request_id)s AND state = 'running' AND run_id = %(run_id)s


-- name: report_request_failed
-- A request can't be met, as far as the run that holds it knows (NULL: none does); what others are at stays theirs.
UPDATE analytics_report_requests
SET state = 'failed', finished_at = now(), problem = %(problem)s
WHERE request_id = %(request_id)s AND state IN ('requested', 'running') AND run_id IS NOT DISTINCT FROM %(run_id)s


-- name: report_request_release
-- The run that held a request is over without a document: another may take it.
UPDATE analytics_report_requests
SET state = 'requested', run_id = NULL, started_at = NULL
WHERE request_id = %(request_id)s AND state = 'running' AND run_id = %(run_id)s


-- name: report_requests_open
-- Requests that wait or are being met, the oldest first.
SELECT
    request_id, company_id, start_date, end_date, coalesce(sections, '{}'), format, currency, locale, page_size, state, run_id
FROM analytics_report_requests
WHERE state IN ('requested', 'running')
ORDER BY request_id
LIMIT %(most)s


-- name: report_unclosed
-- Which metrics have no closed period of these instants, in the calendar of whoever is asked for (each: of any), that
-- follows today's definitions, or keeps its figures since its events have expired.
SELECT w.metric
FROM unnest(%(metrics)s::text[]) WITH ORDINALITY AS w (metric, place)
LEFT JOIN analytics_closed_calendars() AS k ON k.company_id = %(company)s::text
WHERE NOT EXISTS (
    SELECT
    FROM analytics_metric_periods AS m
    WHERE m.metric = w.metric AND m.granularity = %(granularity)s
      AND m.period_start = %(start)s AND m.period_end = %(end)s
      AND (k.company_id IS NULL OR m.time_zone = k.time_zone)
      AND (m.definitions_version = %(version)s OR analytics_is_behind_horizon(m, %(horizon)s))
)
ORDER BY w.place
