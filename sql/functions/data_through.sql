-- The instant up to which the data is known to reach, whatever company is asked for: the newest event of all (null:
-- none yet), or the end of its hour once retention has dropped it.

CREATE OR REPLACE FUNCTION analytics_data_through()
RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT coalesce(
        (SELECT max(e."timestamp") FROM analytics_events AS e),
        (SELECT max(v.bucket) + interval '1 hour' FROM analytics_event_volume_hourly AS v)
    )
$$;

COMMENT ON FUNCTION analytics_data_through IS
    'Event time of the newest event of the whole data set; null without events.';
