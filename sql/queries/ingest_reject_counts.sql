INSERT INTO analytics_ingest_reject_counts (source, kind, company_id, records, records_hash)
SELECT source, kind, company_id, records, records_hash
FROM jsonb_to_recordset(%s::jsonb) AS left_out (
    source       text,
    kind         text,
    company_id   text,
    records      bigint,
    records_hash text
)
ON CONFLICT (records_hash) DO NOTHING
