-- Record one occurrence of a failure. The same occurrence again changes nothing: it is not newer than
-- the row that is open, or lies within one that has recovered.
WITH again AS (
    UPDATE analytics_notifications
    SET count = count + 1,
        last_at = %(at)s,
        partitions = %(partitions)s,
        error = %(error)s,
        remedy = %(remedy)s,
        link = %(link)s,
        details = %(details)s,
        -- After a quiet day it is news again.
        state = CASE WHEN %(at)s > last_at + interval '1 day' THEN 'pending' ELSE state END
    WHERE (source, subject) = (%(source)s, %(subject)s) AND recovered_at IS NULL AND last_at < %(at)s
)
INSERT INTO analytics_notifications (key, source, subject, first_at, last_at, partitions, error, remedy, link, details)
SELECT
    %(key)s, %(source)s, %(subject)s, %(since)s, %(at)s,
    %(partitions)s, %(error)s, %(remedy)s, %(link)s, %(details)s::jsonb
WHERE NOT EXISTS (
    SELECT FROM analytics_notifications
    WHERE (source, subject) = (%(source)s, %(subject)s) AND recovered_at >= %(at)s
)
ON CONFLICT DO NOTHING
