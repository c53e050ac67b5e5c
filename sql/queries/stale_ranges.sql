SELECT aggregate, first_instant, last_instant
FROM analytics_stale_ranges(%(start)s, %(end)s, %(aggregate)s)
