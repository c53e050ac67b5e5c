-- Add somebody, or let somebody who was removed have the report again. No row: nothing has changed.
INSERT INTO analytics_report_recipients AS r (company_id, report, address)
VALUES (%(company_id)s, %(report)s, %(address)s)
ON CONFLICT (report, audience, address_key) DO UPDATE
SET active = true, added_at = now()
WHERE NOT r.active
RETURNING r.recipient_id
