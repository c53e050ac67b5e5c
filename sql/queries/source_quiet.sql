-- A look has found nothing new: what the ERP held then is in.
UPDATE analytics_source_cursors
SET complete_until = %(at)s
WHERE source = %(source)s AND attempt = %(attempt)s AND complete_until < %(at)s
