-- The files there are of a document, and whether somebody gets a workbook of it that was not made yet.
SELECT
    coalesce(
        (
            SELECT jsonb_object_agg(
                f.format, jsonb_build_object('uri', f.uri, 'name', f.name, 'size', f.size, 'sha256', f.sha256)
            )
            FROM analytics_report_files AS f
            WHERE f.document_id = d.document_id
        ),
        '{}'
    ),
    EXISTS (
        SELECT
        FROM analytics_report_recipients AS r
        WHERE r.report = d.report AND r.audience = d.audience AND r.active AND r.format = 'xlsx'
          AND NOT EXISTS (
              SELECT FROM analytics_report_files AS f WHERE f.document_id = d.document_id AND f.format = 'xlsx'
          )
    )
FROM analytics_report_documents AS d
WHERE d.document_id = %(document_id)s
