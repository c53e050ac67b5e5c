-- Keep the latest instant before which raw events have been seen to be gone.
INSERT INTO analytics_retention_horizon AS known (events_from) VALUES (%(events_from)s)
ON CONFLICT (singleton) DO UPDATE SET events_from = excluded.events_from, seen_at = now()
WHERE known.events_from < excluded.events_from
