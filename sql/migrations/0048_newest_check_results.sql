-- The newest result of each check is asked for at each scrape of the measurements.
CREATE INDEX IF NOT EXISTS analytics_check_results_newest_idx
    ON analytics_check_results (subject, check_name, checked_at DESC);
