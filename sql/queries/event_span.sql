-- Where raw events begin (start of the oldest chunk), and the newest one that is not of the future.
SELECT
    (SELECT min(range_start) FROM timescaledb_information.chunks WHERE hypertable_name = 'analytics_events'),
    (SELECT max("timestamp") FROM analytics_events WHERE "timestamp" <= now() + %(tolerance)s::interval)
