-- Each contradiction once, however often it is found. One that was replaced is open again when what was replaced then
-- is stored anew; one that somebody has decided to keep stays decided. By meaning, as jsonb compares: 12.0 is 12.00.
INSERT INTO analytics_event_conflicts AS known (
    event_id, "timestamp", company_id, stored, sent, source, line_number, outcome, decided_at
)
SELECT DISTINCT ON (event_id, "timestamp", stored, sent)
    event_id, "timestamp", company_id, stored, sent, %(source)s, line_number, %(outcome)s,
    CASE WHEN %(outcome)s <> 'open' THEN now() END
FROM jsonb_to_recordset(%(conflicts)s::jsonb) AS conflict (
    event_id    uuid,
    "timestamp" timestamptz,
    company_id  text,
    stored      jsonb,
    sent        jsonb,
    line_number bigint
)
WHERE stored <> sent
ORDER BY event_id, "timestamp", stored, sent, line_number
ON CONFLICT (event_id, "timestamp", jsonb_hash_extended(stored, 0), jsonb_hash_extended(sent, 0)) DO UPDATE SET
    source = excluded.source,
    line_number = excluded.line_number,
    outcome = excluded.outcome,
    decided_at = excluded.decided_at
WHERE 'replaced' IN (known.outcome, excluded.outcome)
  AND (known.outcome <> excluded.outcome OR %(is_change)s)
