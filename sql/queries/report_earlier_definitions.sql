-- The newest version of the definitions that earlier documents of a document's period follow, if it is another one.
SELECT max(e.definitions_version)
FROM analytics_report_documents AS d
JOIN analytics_report_documents AS e
    ON e.report = d.report AND e.audience = d.audience AND e.period = d.period
   AND e.definitions_version < d.definitions_version
WHERE d.document_id = %(document_id)s
