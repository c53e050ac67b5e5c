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
