-- Runs once, when the volume of the database is new: the program's own role, which is no superuser.
\getenv password ANALYTICS_DB_PASSWORD
CREATE ROLE analytics LOGIN PASSWORD :'password';
-- For the checks of server settings.
GRANT pg_monitor TO analytics;
ALTER DATABASE analytics OWNER TO analytics;
