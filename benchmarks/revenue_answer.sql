-- Every figure of the revenue answer over all companies by one statement, without any function of ours, over the same
-- relations: as one would write it by hand for closed periods. Rates are those of a pair itself, either way round; those by way of
-- a third currency and of members of the euro are left to the program.
WITH test_company AS (
    SELECT c.company_id FROM analytics_companies AS c WHERE c.is_test
),
flow AS (
    SELECT
        f.currency, f.day,
        sum(f.revenue) FILTER (WHERE f.day >= %(start)s) AS revenue,
        -sum(f.refunds) FILTER (WHERE f.day >= %(start)s) AS refunds,
        sum(f.invoiced) FILTER (WHERE f.day >= %(start)s) AS invoiced,
        sum(f.revenue) FILTER (WHERE f.day >= %(before)s AND f.day < %(start)s) AS revenue_before,
        sum(f.revenue) FILTER (WHERE f.day >= %(year_start)s AND f.day < %(year_end)s) AS revenue_year_before
    FROM (
        SELECT r.currency, r.bucket AS day, r.total_value AS revenue, r.refund_value AS refunds, NULL::numeric AS invoiced
        FROM analytics_revenue_daily AS r
        WHERE (r.bucket >= %(before)s AND r.bucket < %(end)s OR r.bucket >= %(year_start)s AND r.bucket < %(year_end)s)
          AND r.company_id NOT IN (SELECT t.company_id FROM test_company AS t)
        UNION ALL
        SELECT b.currency, b.bucket, NULL, NULL, b.total_value
        FROM analytics_billing_daily AS b
        WHERE b.bucket >= %(start)s AND b.bucket < %(end)s
          AND b.company_id NOT IN (SELECT t.company_id FROM test_company AS t)
    ) AS f
    WHERE f.currency IS NOT NULL
    GROUP BY f.currency, f.day
),
-- What each customer pays in each currency at the start, at the end and a year before the end.
holding AS MATERIALIZED (
    SELECT
        s.company_id, coalesce('user ' || s.user_id, 'subscription ' || s.subscription_id) AS customer, s.currency,
        coalesce(sum(s.monthly_amount) FILTER (
            WHERE s.valid_from < %(start)s AND (s.valid_to IS NULL OR s.valid_to >= %(start)s)
        ), 0) AS at_start,
        coalesce(sum(s.monthly_amount) FILTER (WHERE s.valid_to IS NULL OR s.valid_to >= %(end)s), 0) AS at_end,
        coalesce(sum(s.monthly_amount) FILTER (
            WHERE s.valid_from < %(year_end)s AND (s.valid_to IS NULL OR s.valid_to >= %(year_end)s)
        ), 0) AS a_year_before,
        bool_or(s.was_paid AND s.valid_from < %(start)s) AS paid_before,
        bool_or(
            s.was_paid AND s.status = 'paused' AND s.valid_from < %(start)s
            AND (s.valid_to IS NULL OR s.valid_to >= %(start)s)
        ) AS paused_at_start,
        bool_or(s.was_paid AND s.status = 'paused' AND (s.valid_to IS NULL OR s.valid_to >= %(end)s)) AS paused_at_end
    FROM analytics_subscriptions AS s
    WHERE s.valid_from < %(end)s AND s.company_id NOT IN (SELECT t.company_id FROM test_company AS t)
    GROUP BY 1, 2, 3
),
-- In another currency than the one reported in, each change counts at the rate of its day.
change AS MATERIALIZED (
    SELECT
        c.company_id, c.customer, c.currency, c.day, c.amount,
        sum(c.amount) OVER (PARTITION BY c.company_id, c.customer, c.currency) AS net
    FROM (
        SELECT
            s.company_id, coalesce('user ' || s.user_id, 'subscription ' || s.subscription_id) AS customer,
            s.currency, date_trunc('day', v.at, 'UTC') AS day, v.at, sum(v.amount) AS amount
        FROM analytics_subscriptions AS s
        CROSS JOIN LATERAL (
            VALUES (s.valid_from, s.monthly_amount), (s.valid_to, -s.monthly_amount)
        ) AS v (at, amount)
        WHERE s.currency <> %(currency)s AND s.monthly_amount > 0 AND v.at >= %(start)s AND v.at < %(end)s
        GROUP BY 1, 2, 3, 4, 5
        HAVING sum(v.amount) <> 0
    ) AS c
),
rate AS MATERIALIZED (
    SELECT k.currency, k.day, r.numerator, r.denominator
    FROM (
        SELECT f.currency, f.day FROM flow AS f
        UNION
        SELECT c.currency, c.day FROM change AS c
        UNION
        SELECT h.currency, b.day
        FROM (SELECT DISTINCT o.currency FROM holding AS o WHERE o.currency IS NOT NULL) AS h
        CROSS JOIN (
            VALUES
                (date_trunc('day', %(start)s - interval '1 microsecond', 'UTC')),
                (date_trunc('day', %(end)s - interval '1 microsecond', 'UTC')),
                (date_trunc('day', %(year_end)s - interval '1 microsecond', 'UTC'))
        ) AS b (day)
    ) AS k
    CROSS JOIN LATERAL (
        SELECT q.numerator, q.denominator
        FROM (
            SELECT 1::numeric AS numerator, 1::numeric AS denominator, date 'infinity' AS rate_date, 0 AS direction
            WHERE k.currency = %(currency)s
            UNION ALL
            SELECT x.rate, 1, x.rate_date, 1
            FROM analytics_fx_rates AS x
            WHERE x.base = k.currency AND x.quote = %(currency)s
              AND x.rate_date BETWEEN (k.day AT TIME ZONE 'UTC')::date - 7 AND (k.day AT TIME ZONE 'UTC')::date
            UNION ALL
            SELECT 1, x.rate, x.rate_date, 2
            FROM analytics_fx_rates AS x
            WHERE x.base = %(currency)s AND x.quote = k.currency
              AND x.rate_date BETWEEN (k.day AT TIME ZONE 'UTC')::date - 7 AND (k.day AT TIME ZONE 'UTC')::date
        ) AS q
        ORDER BY q.rate_date DESC, q.direction
        LIMIT 1
    ) AS r
),
revenue AS (
    SELECT
        sum(f.revenue * r.numerator / r.denominator) AS total_revenue,
        sum(f.refunds * r.numerator / r.denominator) AS refunds,
        sum(f.invoiced * r.numerator / r.denominator) AS invoiced,
        sum(f.revenue_before * r.numerator / r.denominator) AS revenue_before,
        sum(f.revenue_year_before * r.numerator / r.denominator) AS revenue_year_before,
        array_agg(DISTINCT f.currency) FILTER (WHERE r.currency IS NULL) AS unconverted
    FROM flow AS f
    LEFT JOIN rate AS r ON r.currency = f.currency AND r.day = f.day
),
moved AS MATERIALIZED (
    SELECT
        c.company_id, c.customer, c.currency,
        sum(c.amount * r.numerator / r.denominator) * c.net / sum(c.amount) AS converted,
        bool_and(r.currency IS NOT NULL) AS is_converted
    FROM change AS c
    LEFT JOIN rate AS r ON r.currency = c.currency AND r.day = c.day
    WHERE sign(c.amount) = sign(c.net)
    GROUP BY c.company_id, c.customer, c.currency, c.net
),
-- The rates of the three balances of each currency.
standing_rate AS MATERIALIZED (
    SELECT
        r.currency,
        max(r.numerator / r.denominator) FILTER (WHERE r.day = date_trunc('day', %(start)s - interval '1 microsecond', 'UTC'))
            AS at_start,
        max(r.numerator / r.denominator) FILTER (WHERE r.day = date_trunc('day', %(end)s - interval '1 microsecond', 'UTC'))
            AS at_end,
        max(r.numerator / r.denominator)
            FILTER (WHERE r.day = date_trunc('day', %(year_end)s - interval '1 microsecond', 'UTC')) AS a_year_before
    FROM rate AS r
    GROUP BY r.currency
),
customer AS (
    SELECT
        p.company_id, p.customer,
        bool_or(p.at_start > 0) AS pays_at_start, bool_or(p.at_end > 0) AS pays_at_end,
        bool_or(p.paid_before) AS paid_before, bool_or(p.paused_at_start) AS paused_at_start,
        bool_or(p.paused_at_end) AS paused_at_end,
        bool_or(p.at_start <> p.at_end) AS has_moved,
        sum(p.at_start_converted) FILTER (WHERE p.is_kept) AS at_start,
        sum(p.at_end_converted) FILTER (WHERE p.is_kept) AS at_end,
        sum(p.net) FILTER (WHERE p.is_kept) AS net,
        sum(p.at_start_converted) AS mrr_at_start,
        sum(p.at_end_converted) AS mrr,
        sum(p.a_year_before_converted) AS mrr_year_before,
        array_agg(p.currency) FILTER (WHERE NOT p.is_kept) AS unconverted
    FROM (
        SELECT
            h.*,
            h.at_start * r.at_start AS at_start_converted,
            h.at_end * r.at_end AS at_end_converted,
            h.a_year_before * r.a_year_before AS a_year_before_converted,
            CASE WHEN h.currency = %(currency)s THEN h.at_end - h.at_start ELSE m.converted END AS net,
            (h.at_start = 0 OR r.at_start IS NOT NULL) AND (h.at_end = 0 OR r.at_end IS NOT NULL)
                AND m.is_converted IS NOT FALSE AS is_kept
        FROM holding AS h
        LEFT JOIN standing_rate AS r ON r.currency = h.currency
        LEFT JOIN moved AS m ON m.company_id = h.company_id AND m.customer = h.customer AND m.currency = h.currency
    ) AS p
    GROUP BY p.company_id, p.customer
),
bridge AS (
    SELECT
        coalesce(sum(c.at_start), 0) AS start,
        coalesce(sum(c.net) FILTER (WHERE c.movement = 'new'), 0) AS new,
        coalesce(sum(c.net) FILTER (WHERE c.movement = 'reactivation'), 0) AS reactivation,
        coalesce(sum(c.net) FILTER (WHERE c.movement = 'expansion'), 0) AS expansion,
        coalesce(sum(c.net) FILTER (WHERE c.movement = 'expansion' AND c.pays_at_start), 0) AS expansion_of_paying,
        coalesce(-sum(c.net) FILTER (WHERE c.movement = 'contraction'), 0) AS contraction,
        coalesce(-sum(c.net) FILTER (WHERE c.movement = 'churn'), 0) AS churn,
        coalesce(sum(c.at_end), 0) AS "end",
        coalesce(sum(c.mrr_at_start), 0) AS mrr_at_start, coalesce(sum(c.mrr), 0) AS mrr,
        coalesce(sum(c.mrr_year_before), 0) AS mrr_year_before,
        count(*) FILTER (WHERE c.movement = 'new') AS new_customers,
        count(*) FILTER (WHERE c.movement = 'reactivation') AS returned_customers,
        count(*) FILTER (WHERE c.movement = 'churn') AS lost_customers,
        count(*) FILTER (WHERE c.pays_at_start) AS customers_at_start,
        count(*) FILTER (WHERE c.pays_at_end) AS paying_customers,
        array_agg(DISTINCT c.unconverted) FILTER (WHERE c.unconverted IS NOT NULL) AS unconverted
    FROM (
        SELECT
            f.*,
            CASE
                WHEN NOT f.has_moved THEN NULL
                WHEN NOT f.pays_at_start AND NOT f.pays_at_end THEN NULL
                WHEN NOT f.pays_at_start AND f.paused_at_start THEN 'expansion'
                WHEN NOT f.pays_at_start AND f.paid_before THEN 'reactivation'
                WHEN NOT f.pays_at_start THEN 'new'
                WHEN NOT f.pays_at_end AND f.paused_at_end THEN 'contraction'
                WHEN NOT f.pays_at_end THEN 'churn'
                WHEN f.net > 0 THEN 'expansion'
                WHEN f.net < 0 THEN 'contraction'
            END AS movement
        FROM customer AS f
    ) AS c
),
users AS (
    SELECT count(*) AS total_users
    FROM analytics_users AS u
    WHERE u.first_seen < %(end)s AND u.company_id NOT IN (SELECT t.company_id FROM test_company AS t)
      AND NOT EXISTS (
          SELECT
          FROM analytics_user_deletions AS d
          WHERE d.company_id = u.company_id AND d.user_id = u.user_id AND d.deleted_at < %(start)s
            AND (d.returned_at IS NULL OR d.returned_at >= %(end)s)
      )
),
figure AS (
    SELECT
        b.*, u.total_users, b.contraction + b.churn AS lost,
        coalesce(r.total_revenue, 0) AS total_revenue, coalesce(r.refunds, 0) AS refunds,
        coalesce(r.invoiced, 0) AS invoiced, coalesce(r.revenue_before, 0) AS revenue_before,
        coalesce(r.revenue_year_before, 0) AS revenue_year_before, r.unconverted AS unconverted_revenue,
        b.mrr / nullif(b.paying_customers, 0) AS arpa, b.mrr_at_start / nullif(b.customers_at_start, 0) AS arpa_before,
        100.0 * b.lost_customers / nullif(b.customers_at_start, 0) AS customer_churn_rate
    FROM bridge AS b, revenue AS r, users AS u
)
SELECT
    f.mrr, 12 * f.mrr AS arr, f.total_revenue, f.total_revenue / nullif(f.total_users, 0) AS average_revenue_per_user,
    CASE WHEN f.revenue_before > 0 THEN 100 * (f.total_revenue - f.revenue_before) / f.revenue_before END
        AS revenue_growth,
    f.invoiced, f.refunds, f.paying_customers, f.arpa, f.total_users,
    f.start, f.new, f.reactivation, f.expansion, f.contraction, f.churn,
    f."end" - f.start - f.new - f.reactivation - f.expansion + f.contraction + f.churn AS fx, f."end",
    CASE WHEN f.start > 0 THEN 100 * f.lost / f.start END AS gross_mrr_churn_rate,
    CASE WHEN f.start > 0 THEN 100 * (f.lost - f.expansion - f.reactivation) / f.start END AS net_mrr_churn_rate,
    CASE WHEN f.start > 0 THEN 100 * (f.start - f.lost) / f.start END AS gross_revenue_retention,
    CASE WHEN f.start > 0 THEN 100 * (f.start - f.lost + f.expansion_of_paying) / f.start END AS net_revenue_retention,
    CASE WHEN f.lost > 0 THEN (f.new + f.reactivation + f.expansion) / f.lost END AS quick_ratio,
    f.new_customers, f.returned_customers, f.lost_customers, f.customer_churn_rate,
    CASE WHEN f.arpa_before > 0 THEN 100 * (f.arpa - f.arpa_before) / f.arpa_before END AS arpa_growth,
    CASE WHEN f.customer_churn_rate > 0 AND %(is_month)s THEN 100 * f.arpa / f.customer_churn_rate END AS lifetime_value,
    CASE WHEN f.revenue_year_before > 0
         THEN 100 * (f.total_revenue - f.revenue_year_before) / f.revenue_year_before END AS total_revenue_year_over_year,
    CASE WHEN f.mrr_year_before > 0 THEN 100 * (f.mrr - f.mrr_year_before) / f.mrr_year_before END
        AS mrr_year_over_year,
    f.unconverted_revenue, f.unconverted,
    (SELECT max(e."timestamp") FROM analytics_events AS e) AS data_through
FROM figure AS f
