-- How far a run has come. No row: a newer run has begun, or the source was reset.
UPDATE analytics_source_cursors SET
    cursor_at = %(cursor_at)s,
    pass_until = %(pass_until)s,
    pass_safe = %(pass_safe)s,
    pass_newest = %(pass_newest)s,
    position_at = %(position_at)s,
    position_key = %(position_key)s,
    looked_at = %(looked_at)s,
    open_transactions = %(open_transactions)s::jsonb,
    complete_until = %(complete_until)s,
    window_rows = %(window_rows)s,
    window_newest = %(window_newest)s,
    last_read = %(last_read)s,
    last_new = %(last_new)s,
    last_rejected = %(last_rejected)s,
    total_new = %(total_new)s
WHERE source = %(source)s AND attempt = %(attempt)s
