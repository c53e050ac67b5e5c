-- Events dated further ahead than clocks differ (ingestion allows five minutes).
SELECT count(*) FROM analytics_events WHERE "timestamp" > now() + interval '5 minutes'
