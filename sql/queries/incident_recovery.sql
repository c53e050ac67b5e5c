-- Close the open failure of a subject, unless it failed again after the success.
UPDATE analytics_notifications
SET recovered_at = %(at)s,
    recovery = %(recovery)s,
    state = 'pending'
WHERE (source, subject) = (%(source)s, %(subject)s) AND recovered_at IS NULL AND last_at <= %(at)s
