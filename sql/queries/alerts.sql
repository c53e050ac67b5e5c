-- name: alert_closed_periods
-- The dates of a span that a metric is closed of for every company, as partitions are named: the platform's reporting
-- currency, the version of the definitions they follow, and whether nothing but other definitions has changed them since
-- they were judged last.
SELECT p.period_date::timestamp AT TIME ZONE 'UTC', p.currency, p.definitions_version, p.restated_from IS NOT NULL
FROM analytics_metric_periods AS p
WHERE p.metric = %(metric)s AND p.granularity = %(granularity)s AND p.is_platform
  AND p.period_date >= %(first)s AND p.period_date < %(until)s
  AND p.period_date <= analytics_closed_through(%(metric)s, %(granularity)s)


-- name: alert_companies
-- The companies of a metric table and the first date each has a row for, without reading all of their rows.
WITH RECURSIVE company AS (
    (SELECT m.company_id FROM {table} AS m WHERE m.company_id IS NOT NULL ORDER BY m.company_id LIMIT 1)
    UNION ALL
    SELECT (SELECT m.company_id FROM {table} AS m WHERE m.company_id > c.company_id ORDER BY m.company_id LIMIT 1)
    FROM company AS c
    WHERE c.company_id IS NOT NULL
)
SELECT c.company_id, f.period_date::timestamp AT TIME ZONE 'UTC'
FROM company AS c
CROSS JOIN LATERAL (
    SELECT m.period_date
    FROM {table} AS m
    WHERE m.company_id = c.company_id AND m.granularity = %(granularity)s
    ORDER BY m.period_date
    LIMIT 1
) AS f
ORDER BY c.company_id


-- name: alert_continue
-- An alert goes on: it is now as of this period and this revision of its rule.
UPDATE analytics_alerts AS a
SET revision = %(revision)s, severity = %(severity)s, last_period = greatest(a.last_period, %(period)s),
    value = %(value)s, shown = %(shown)s, threshold = %(threshold)s
WHERE a.alert_id = %(alert)s
  AND (a.revision, a.severity, a.last_period, a.value, a.shown, a.threshold) IS DISTINCT FROM
      (%(revision)s::integer, %(severity)s::text, greatest(a.last_period, %(period)s), %(value)s::numeric,
       %(shown)s::text, %(threshold)s::text)


-- name: alert_fired
-- Alerts that fired in a window, of a company or of all and the platform, in the order of their start.
SELECT
    a.rule_id, r.definition ->> 'description', a.severity, a.company_id, a.granularity, a.first_period, a.last_period,
    a.shown, a.threshold, a.opened_at, a.resolution
FROM analytics_alerts AS a
JOIN analytics_alert_rules AS r ON r.rule_id = a.rule_id AND r.revision = a.revision
WHERE a.condition = 'firing'
  AND a.first_period < %(end)s
  AND (a.last_period AT TIME ZONE 'UTC' + ('1 ' || a.granularity)::interval) AT TIME ZONE 'UTC' > %(start)s
  AND (%(company)s::text IS NULL OR a.company_id = %(company)s)
ORDER BY a.first_period, a.rule_id, a.company_id NULLS FIRST, a.alert_id


-- name: alert_going_on
-- Alerts that go on, of the rules named.
SELECT
    a.alert_id, a.rule_id, a.revision, a.company_id, a.granularity, a.condition, a.first_period, a.last_period,
    a.value, a.shown, a.threshold, a.severity, a.opened_at, a.told_at
FROM analytics_alerts AS a
WHERE a.resolved_at IS NULL AND (%(rules)s::text[] IS NULL OR a.rule_id = ANY (%(rules)s))
ORDER BY a.rule_id, a.company_id NULLS FIRST, a.condition


-- name: alert_mrr_movements
-- Figures of closed dates for alerts: of these companies (null: of every one), and of all together (company_id null).
-- incomplete: what they are made from that lacks a rate of exchange.
SELECT
    f.*, f.period_date::timestamp AT TIME ZONE 'UTC' AS partition_start,
    jsonb_path_query_array(f.unconverted, '$[*].figure') AS incomplete
FROM analytics_mrr_movements AS f
WHERE f.granularity = %(granularity)s AND f.period_date >= %(first)s AND f.period_date < %(until)s
  AND CASE
      WHEN f.company_id IS NULL THEN %(all_companies)s
      ELSE %(companies)s::text[] IS NULL OR f.company_id = ANY (%(companies)s::text[])
  END


-- name: alert_open
-- An alert begins; no row: somebody else has just begun it.
INSERT INTO analytics_alerts (
    rule_id, revision, company_id, granularity, condition, severity, first_period, last_period, value, shown, threshold
)
VALUES (
    %(rule)s, %(revision)s, %(company)s, %(granularity)s, %(condition)s, %(severity)s, %(period)s, %(period)s,
    %(value)s, %(shown)s, %(threshold)s
)
ON CONFLICT (rule_id, company_id, condition) WHERE resolved_at IS NULL DO NOTHING
RETURNING
    alert_id, rule_id, revision, company_id, granularity, condition, first_period, last_period, value, shown,
    threshold, severity, opened_at, told_at


-- name: alert_resolve
UPDATE analytics_alerts
SET resolved_at = now(), resolution = %(resolution)s
WHERE alert_id = %(alert)s


-- name: alert_revenue_metrics
-- Figures of closed dates for alerts: of these companies (null: of every one), and of all together (company_id null).
-- incomplete: what they are made from that lacks a rate of exchange.
SELECT
    f.company_id, f.period_date::timestamp AT TIME ZONE 'UTC' AS partition_start, f.currency,
    jsonb_path_query_array(f.unconverted, '$[*].figure') AS incomplete,
    f.total_revenue, f.previous_revenue, f.revenue_growth, f.invoiced, f.refunds, f.mrr, f.arr,
    f.paying_customers, f.arpa, f.average_revenue_per_user
FROM analytics_revenue_metrics AS f
WHERE f.granularity = %(granularity)s AND f.period_date >= %(first)s AND f.period_date < %(until)s
  AND CASE
      WHEN f.company_id IS NULL THEN %(all_companies)s
      ELSE %(companies)s::text[] IS NULL OR f.company_id = ANY (%(companies)s::text[])
  END


-- name: alert_rule_add
-- A new revision of a rule comes into force.
INSERT INTO analytics_alert_rules (rule_id, revision, definition, sha256)
SELECT %(rule)s, coalesce(max(r.revision), 0) + 1, %(definition)s, %(sha256)s
FROM analytics_alert_rules AS r
WHERE r.rule_id = %(rule)s


-- name: alert_rule_retire
UPDATE analytics_alert_rules SET retired_at = now() WHERE rule_id = %(rule)s AND active


-- name: alert_rules
-- The rules in force.
SELECT r.definition, r.revision, r.loaded_at
FROM analytics_alert_rules AS r
WHERE r.active
ORDER BY r.rule_id


-- name: alert_notified
-- The messages of these alerts are in the outbox: of their end if they have one, else of their start.
UPDATE analytics_alerts
SET told_at = coalesce(told_at, now()), end_told_at = CASE WHEN resolved_at IS NOT NULL THEN now() END
WHERE alert_id = ANY (%(alerts)s)


-- name: alert_unknown_companies
-- Which of the companies named have no closed figures at all.
SELECT c.company_id
FROM unnest(%(companies)s::text[]) AS c (company_id)
WHERE NOT EXISTS (SELECT FROM analytics_revenue_metrics AS m WHERE m.company_id = c.company_id)
  AND NOT EXISTS (SELECT FROM analytics_mrr_movements AS m WHERE m.company_id = c.company_id)
  AND NOT EXISTS (SELECT FROM analytics_user_metrics AS m WHERE m.company_id = c.company_id)
ORDER BY c.company_id


-- name: alert_user_metrics
-- Figures of closed dates for alerts: of these companies (null: of every one), and of all together (company_id null).
SELECT
    f.company_id, f.period_date::timestamp AT TIME ZONE 'UTC' AS partition_start, NULL AS currency,
    '[]'::jsonb AS incomplete,
    f.total_users, f.active_users, f.new_users, f.churned_users, f.users_at_start, f.active_before,
    f.churn_rate, f.active_user_rate, f.churn_rate_of_start
FROM analytics_user_metrics AS f
WHERE f.granularity = %(granularity)s AND f.period_date >= %(first)s AND f.period_date < %(until)s
  AND CASE
      WHEN f.company_id IS NULL THEN %(all_companies)s
      ELSE %(companies)s::text[] IS NULL OR f.company_id = ANY (%(companies)s::text[])
  END
