-- The instant up to which the data is known to reach: the newest event (null: none yet), or the end of its hour once
-- retention has dropped it.

CREATE OR REPLACE FUNCTION analytics_data_through(p_company text)
RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    -- Two branches, so that each of them is a look at the end of an index.
    SELECT coalesce(
        CASE
            WHEN p_company IS NULL THEN (SELECT max(e."timestamp") FROM analytics_events AS e)
            ELSE (SELECT max(e."timestamp") FROM analytics_events AS e WHERE e.company_id = p_company)
        END,
        (SELECT max(v.bucket) + interval '1 hour' FROM analytics_event_volume_hourly AS v
         WHERE p_company IS NULL OR v.company_id = p_company)
    )
$$;

COMMENT ON FUNCTION analytics_data_through IS
    'Event time of the newest event of a company, or of all; null without events.';
