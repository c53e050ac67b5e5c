-- What the ERP knows of companies: their names, time zones, reporting currencies and locales, and which are for tests.
-- reads: companies
-- overlap: 1 hour
SELECT
    company.id AS source_key,
    company.updated_at AS cursor_at,
    company.id AS company_id,
    company.name,
    company.time_zone,
    company.currency,
    company.locale,
    company.is_test
FROM erp.companies AS company
