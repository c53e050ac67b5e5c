-- No row, only the columns of a source of the ERP.
SELECT *
FROM (
{source}
) AS source
LIMIT %(rows)s
