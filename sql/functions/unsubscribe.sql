-- What one click in a mail does: like recipient_remove.sql, of the one recipient whose key it is.

CREATE OR REPLACE FUNCTION analytics_unsubscribe(p_key text)
RETURNS boolean
LANGUAGE plpgsql
AS $$
DECLARE
    recipient analytics_report_recipients;
BEGIN
    SELECT r.* INTO recipient FROM analytics_report_recipients AS r WHERE r.unsubscribe_key = p_key FOR UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    IF recipient.active THEN
        UPDATE analytics_report_recipients AS r SET active = false WHERE r.recipient_id = recipient.recipient_id;
        DELETE FROM analytics_outbox AS o WHERE o.recipient_id = recipient.recipient_id AND o.state = 'pending';
        PERFORM analytics_record_act(
            'the recipient', 'recipient.remove', recipient.address,
            jsonb_build_object('report', recipient.report, 'company_id', recipient.company_id)
        );
    END IF;
    RETURN true;
END
$$;

COMMENT ON FUNCTION analytics_unsubscribe IS
    'Ends the reports to the recipient of a key, and returns whether there is one; again changes nothing.';
