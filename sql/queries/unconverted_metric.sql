-- Amounts of closed periods that are left out for want of a rate, per company, figure, part of it and currency, gains
-- and losses apart, with their days. Balances are no flows: the same one is left out of period after period, so that
-- of them it is the amount of the newest.
SELECT
    u.company_id, concat_ws(' ', u.figure, u.part), u.currency,
    trim_scale(sum(u.amount) FILTER (WHERE u.is_newest OR NOT u.is_balance)),
    min(u.first_day), max(u.last_day)
FROM (
    SELECT
        m.company_id, e.figure, e.part, e.currency, e.amount,
        coalesce(e.first_day, analytics_date(m.period_start)) AS first_day,
        coalesce(e.last_day, analytics_date(m.period_start)) AS last_day,
        e.figure = 'mrr' OR coalesce(e.part IN ('start', 'end'), false) AS is_balance,
        m.period_start = max(m.period_start) OVER (
            PARTITION BY m.company_id, e.figure, e.part, e.currency, sign(e.amount)
        ) AS is_newest
    FROM {table} AS m
    CROSS JOIN LATERAL jsonb_to_recordset(m.unconverted) AS e (
        figure text, part text, currency text, amount numeric, first_day date, last_day date
    )
    WHERE m.granularity = %(granularity)s AND m.period_start >= %(start)s AND m.period_start < %(end)s
) AS u
GROUP BY u.company_id, u.figure, u.part, u.currency, sign(u.amount)
ORDER BY u.company_id, u.figure, u.part NULLS FIRST, u.currency, sign(u.amount)
