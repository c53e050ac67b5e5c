-- name: company_is_known
SELECT analytics_company_is_known(%(company_id)s)


-- name: company_of
SELECT name, time_zone, currency, locale, is_test FROM analytics_company_of(%(company_id)s)


-- name: company_rows
-- What is known of every company that has a row, by id.
SELECT company_id, name, time_zone, currency, locale, is_test
FROM analytics_companies
ORDER BY company_id COLLATE "C"


-- name: time_zones
SELECT time_zone FROM analytics_time_zones()
