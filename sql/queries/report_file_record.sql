-- A file of a document; one that was made meanwhile stays.
INSERT INTO analytics_report_files (document_id, format, uri, name, size, sha256)
VALUES (%(document_id)s, %(format)s, %(uri)s, %(name)s, %(size)s, %(sha256)s)
ON CONFLICT (document_id, format) DO NOTHING
