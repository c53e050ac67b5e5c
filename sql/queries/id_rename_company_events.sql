UPDATE analytics_events SET company_id = %(present)s
WHERE company_id = %(company)s AND "timestamp" >= %(day)s AND "timestamp" < %(day)s::timestamptz + interval '1 day'
