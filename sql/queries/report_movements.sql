-- What moved MRR in a period, of each company or (each false) of all that are asked for together.
SELECT
    CASE WHEN %(each)s THEN m.company_id END,
    sum(m.start_mrr), sum(m.new), sum(m.reactivation), sum(m.expansion),
    sum(m.contraction), sum(m.churn), sum(m.fx), sum(m.end_mrr),
    bool_and(m.is_converted)
FROM analytics_mrr_movements_by_company(%(company)s, %(start)s, %(end)s, %(currency)s) AS m
GROUP BY 1
