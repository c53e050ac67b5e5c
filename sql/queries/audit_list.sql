-- The newest acts of operators first.
SELECT a.audit_id, a.happened_at, a.session_role, a.actor, a.act, a.subject, a.details
FROM analytics_audit AS a
WHERE (%(act)s::text IS NULL OR a.act = %(act)s OR starts_with(a.act, %(act)s || '.'))
  AND (%(subject)s::text IS NULL OR a.subject = %(subject)s)
ORDER BY a.audit_id DESC
LIMIT %(limit)s
