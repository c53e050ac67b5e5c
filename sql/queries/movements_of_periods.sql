-- MRR at the start and the end of periods, what moved it and the rates that follow, in their order.
SELECT f.start_mrr AS start, f.end_mrr AS "end", f.unconverted::text AS lacking, f.*
FROM analytics_mrr_figures(analytics_figure_periods(
    %(companies)s::text[], %(starts)s::timestamptz[], %(ends)s::timestamptz[], %(currency)s
)) AS f
ORDER BY f.place
