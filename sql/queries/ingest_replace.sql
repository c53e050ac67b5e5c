-- When it arrived stays: by that changes of a subscription at one instant are ordered, and a corrected one keeps its
-- place. Company and time are named as constants: of a compressed chunk only the batch that holds the event is unpacked.
UPDATE analytics_events SET
    user_id = %(user_id)s,
    event_type = %(event_type)s,
    category = %(category)s,
    value = %(value)s,
    currency = %(currency)s,
    metadata = %(metadata)s::jsonb
WHERE company_id = %(company_id)s AND "timestamp" = %(timestamp)s AND event_id = %(event_id)s
