-- Some rows of a source of the ERP, whichever come first.
SELECT {columns}
FROM (
{source}
) AS source
CROSS JOIN LATERAL (SELECT coalesce(nullif(source_key::text, ''), ' ') COLLATE "C" AS key) AS named
LIMIT %(rows)s
