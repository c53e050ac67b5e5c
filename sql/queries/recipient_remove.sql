-- Somebody gets the report, or everywhere any report, no more, what has not left yet included. The row stays for the mails
-- that name it.
WITH removed AS (
    UPDATE analytics_report_recipients
    SET active = false
    WHERE (%(everywhere)s OR (report = %(report)s AND company_id IS NOT DISTINCT FROM %(company_id)s::text))
      AND address_key = %(address_key)s
      AND active
    RETURNING recipient_id
),
taken_back AS (
    DELETE FROM analytics_outbox AS o
    USING removed
    WHERE o.recipient_id = removed.recipient_id AND o.state = 'pending'
    RETURNING o.outbox_id
)
SELECT (SELECT count(*) FROM removed), (SELECT count(*) FROM taken_back)
