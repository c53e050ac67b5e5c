-- Which of the companies named have no closed figures at all.
SELECT c.company_id
FROM unnest(%(companies)s::text[]) AS c (company_id)
WHERE NOT EXISTS (SELECT FROM analytics_revenue_metrics AS m WHERE m.company_id = c.company_id)
  AND NOT EXISTS (SELECT FROM analytics_mrr_movements AS m WHERE m.company_id = c.company_id)
  AND NOT EXISTS (SELECT FROM analytics_user_metrics AS m WHERE m.company_id = c.company_id)
ORDER BY c.company_id
