UPDATE analytics_events SET user_id = %(present)s
WHERE company_id = %(company)s AND user_id = %(user)s
  AND "timestamp" >= %(day)s AND "timestamp" < %(day)s::timestamptz + interval '1 day'
