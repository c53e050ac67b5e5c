-- Tokens as the API's role asks for them: by the checksum of the one it was given, and nothing else.

CREATE OR REPLACE FUNCTION analytics_find_token(p_hash bytea)
RETURNS TABLE (token_id text, company_id text, scopes text[])
LANGUAGE sql STABLE
AS $$
    SELECT t.token_id, t.company_id, t.scopes
    FROM analytics_api_tokens AS t
    WHERE t.token_hash = p_hash AND t.revoked_at IS NULL AND t.expires_at > clock_timestamp()
$$;

COMMENT ON FUNCTION analytics_find_token IS
    'Whom a token is for, by its SHA-256; no row for one that is unknown, has expired or was revoked.';

CREATE OR REPLACE FUNCTION analytics_note_token_uses(p_tokens text[])
RETURNS void
LANGUAGE sql
AS $$
    UPDATE analytics_api_tokens AS t SET last_used_at = now() WHERE t.token_id = ANY (p_tokens)
$$;

COMMENT ON FUNCTION analytics_note_token_uses IS
    'Notes that tokens were used within the last minute.';

CREATE OR REPLACE FUNCTION analytics_company_is_known(p_company text)
RETURNS boolean
LANGUAGE sql STABLE
AS $$
    -- Of events that have expired the volumes are left, of those that were removed the documents; a company that has a
    -- token or a row may have no event yet.
    SELECT
        EXISTS (SELECT FROM analytics_events AS e WHERE e.company_id = p_company)
        OR EXISTS (SELECT FROM analytics_event_volume_hourly AS v WHERE v.company_id = p_company)
        OR EXISTS (SELECT FROM analytics_report_documents AS d WHERE d.company_id = p_company)
        OR EXISTS (SELECT FROM analytics_api_tokens AS t WHERE t.company_id = p_company)
        OR EXISTS (SELECT FROM analytics_companies AS c WHERE c.company_id = p_company)
$$;

COMMENT ON FUNCTION analytics_company_is_known IS
    'Whether an event names the company, or did before it expired, or the company has a row or a token of the API.';
