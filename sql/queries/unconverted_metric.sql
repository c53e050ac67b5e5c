-- Amounts of closed periods that are left out for want of a rate, per company, figure, part of it and currency, gains
-- and losses apart, with their days.
SELECT
    m.company_id, concat_ws(' ', u.figure, u.part), u.currency, trim_scale(sum(u.amount)),
    min(coalesce(u.first_day, analytics_date(m.period_start))),
    max(coalesce(u.last_day, analytics_date(m.period_start)))
FROM {table} AS m
CROSS JOIN LATERAL jsonb_to_recordset(m.unconverted) AS u (
    figure text, part text, currency text, amount numeric, first_day date, last_day date
)
WHERE m.granularity = %(granularity)s AND m.period_start >= %(start)s AND m.period_start < %(end)s
GROUP BY m.company_id, u.figure, u.part, u.currency, sign(u.amount)
ORDER BY m.company_id, u.figure, u.part NULLS FIRST, u.currency, sign(u.amount)
