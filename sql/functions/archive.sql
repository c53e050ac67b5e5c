-- What was brought back from the archive, and is behind the retention horizon without being gone.

-- In plpgsql, which keeps the plan: it is asked for many periods.
CREATE OR REPLACE FUNCTION analytics_is_brought_back(p_start timestamptz, p_end timestamptz)
RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL SAFE
AS $$
BEGIN
    RETURN coalesce(
        (
            SELECT range_agg(tstzrange(h.events_start, h.events_end))
            FROM analytics_archive_holds AS h
            WHERE h.restored_at IS NOT NULL
        ) @> tstzrange(p_start, p_end),
        false
    );
END
$$;

COMMENT ON FUNCTION analytics_is_brought_back IS
    'Whether all events of a half-open window were brought back from the archive, and are held from retention.';
