-- MRR at the start and the end of periods and what moved it, in their order.
SELECT
    f.start_mrr, f.new, f.reactivation, f.expansion, f.contraction, f.churn, f.fx, f.end_mrr,
    f.unconverted::text, f.is_empty
FROM analytics_mrr_figures(ARRAY(
    SELECT ROW(w.company_id, w.period_start, w.period_end, %(currency)s)::analytics_figure_period
    FROM unnest(%(companies)s::text[], %(starts)s::timestamptz[], %(ends)s::timestamptz[])
        WITH ORDINALITY AS w (company_id, period_start, period_end, place)
    ORDER BY w.place
)) AS f
ORDER BY f.place
