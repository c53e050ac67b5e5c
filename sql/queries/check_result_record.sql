-- What a check found over a window, in place of what it found before in any part of that.
WITH replaced AS (
    DELETE FROM analytics_check_results AS r
    WHERE r.subject = %(subject)s AND r.check_name = %(check)s
      AND r.window_start >= %(start)s AND r.window_end <= %(end)s
      AND (r.window_start, r.window_end) <> (%(start)s, %(end)s)
)
INSERT INTO analytics_check_results AS r
    (subject, check_name, window_start, window_end, passed, severity, summary)
VALUES (%(subject)s, %(check)s, %(start)s, %(end)s, %(passed)s, %(severity)s, %(summary)s)
ON CONFLICT (subject, check_name, window_start, window_end) DO UPDATE
    SET passed = excluded.passed, severity = excluded.severity, summary = excluded.summary,
        checked_at = excluded.checked_at
