-- Add somebody, or let somebody who was removed have the report again, or say otherwise about corrections (null: as it is;
-- of somebody new: none). No row: nothing has changed.
INSERT INTO analytics_report_recipients AS r (company_id, report, address, corrections_from)
VALUES (%(company_id)s, %(report)s, %(address)s, CASE WHEN %(corrections)s::boolean THEN now() END)
ON CONFLICT (report, audience, address_key) DO UPDATE
SET active = true,
    added_at = CASE WHEN r.active THEN r.added_at ELSE now() END,
    corrections_from = CASE
        WHEN r.active AND %(corrections)s::boolean IS NULL THEN r.corrections_from
        WHEN r.active AND %(corrections)s::boolean THEN coalesce(r.corrections_from, excluded.corrections_from)
        ELSE excluded.corrections_from
    END
WHERE NOT r.active OR (r.corrections_from IS NOT NULL) <> %(corrections)s::boolean
RETURNING r.recipient_id
