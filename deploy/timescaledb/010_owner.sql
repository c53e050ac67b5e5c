-- Runs once, when the volume of the database is new: the program's own role, which is no superuser, the roles that
-- logins are made members of, which it may grant, and Grafana's login.
\getenv password ANALYTICS_DB_PASSWORD
CREATE ROLE analytics LOGIN PASSWORD :'password';
-- For the checks of server settings.
GRANT pg_monitor TO analytics;
ALTER DATABASE analytics OWNER TO analytics;

CREATE ROLE analytics_reader;
CREATE ROLE analytics_api;
CREATE ROLE analytics_writer;
CREATE ROLE analytics_operator;
CREATE ROLE analytics_analyst;
GRANT analytics_reader TO analytics_api;
GRANT analytics_reader, analytics_operator, analytics_analyst TO analytics WITH ADMIN TRUE, INHERIT FALSE, SET FALSE;
-- It serves the API by this login, and takes on these two for each request.
GRANT analytics_api, analytics_writer TO analytics WITH ADMIN TRUE, INHERIT FALSE, SET TRUE;

-- What "analytics-pipeline access login operator grafana" prints.
\getenv password GRAFANA_DB_PASSWORD
CREATE ROLE grafana LOGIN PASSWORD :'password';
GRANT CONNECT ON DATABASE analytics TO grafana;
GRANT analytics_operator TO grafana WITH INHERIT TRUE, SET TRUE;
ALTER ROLE grafana IN DATABASE analytics SET default_transaction_read_only = 'on';
ALTER ROLE grafana IN DATABASE analytics SET idle_in_transaction_session_timeout = '5min';
ALTER ROLE grafana IN DATABASE analytics SET statement_timeout = '1min';
