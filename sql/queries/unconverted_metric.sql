-- Amounts of closed periods that lack a rate, per company, figure and currency.
SELECT m.company_id, u.figure, u.currency, sum(u.amount), min(m.period_start), max(m.period_start)
FROM {table} AS m
CROSS JOIN LATERAL jsonb_to_recordset(m.unconverted) AS u (figure text, currency text, amount numeric)
WHERE m.granularity = %(granularity)s AND m.period_start >= %(start)s AND m.period_start < %(end)s
GROUP BY m.company_id, u.figure, u.currency
ORDER BY m.company_id, u.figure, u.currency
