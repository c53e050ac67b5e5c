-- Documents of reports, requests for them, and the keys that open one, as the API asks for them (sql/api.sql). A null
-- company is every company, and the reports over all of them.

CREATE OR REPLACE FUNCTION analytics_documents_of(
    p_company text, p_document bigint, p_before bigint, p_most integer
)
RETURNS TABLE (
    document_id bigint, report text, company_id text, period text, revision bigint, is_current boolean,
    rendered_at timestamptz, data_through timestamptz, provisional boolean, definitions_version integer,
    pages integer, figures jsonb, files jsonb
)
LANGUAGE sql STABLE
AS $$
    SELECT
        d.document_id, d.report, d.company_id, d.period,
        (
            SELECT count(*)
            FROM analytics_report_documents AS e
            WHERE e.report = d.report AND e.audience = d.audience AND e.period = d.period
              AND e.document_id <= d.document_id
        ),
        d.is_current, d.rendered_at, d.data_through, d.provisional, d.definitions_version, d.pages, d.figures,
        (
            SELECT jsonb_object_agg(f.format, jsonb_build_object('name', f.name, 'size', f.size, 'sha256', f.sha256))
            FROM analytics_report_files AS f
            WHERE f.document_id = d.document_id
        )
    FROM analytics_report_documents AS d
    WHERE (p_company IS NULL OR d.company_id = p_company)
      AND (p_document IS NULL OR d.document_id = p_document)
      AND (p_before IS NULL OR d.document_id < p_before)
    ORDER BY d.document_id DESC
    LIMIT p_most
$$;

COMMENT ON FUNCTION analytics_documents_of IS
    'Documents of a company''s reports, the newest first, each with its revision and its files; null: of every company.';

CREATE OR REPLACE FUNCTION analytics_request_report(
    p_company text, p_start date, p_end date, p_sections text[], p_format text, p_currency text, p_locale text,
    p_page_size text, p_requested_by text
)
RETURNS bigint
LANGUAGE sql
AS $$
    INSERT INTO analytics_report_requests (
        company_id, start_date, end_date, sections, format, currency, locale, page_size, requested_by
    )
    VALUES (p_company, p_start, p_end, p_sections, p_format, p_currency, p_locale, p_page_size, p_requested_by)
    RETURNING request_id
$$;

COMMENT ON FUNCTION analytics_request_report IS
    'Asks for a report of a company (null: of all together) and inclusive dates, and returns the request''s number.';

CREATE OR REPLACE FUNCTION analytics_report_request_of(p_company text, p_request bigint)
RETURNS TABLE (
    request_id bigint, company_id text, start_date date, end_date date, sections text[], format text, currency text,
    locale text, page_size text, state text, requested_at timestamptz, finished_at timestamptz, problem text,
    uri text, size bigint, sha256 text
)
LANGUAGE sql STABLE
AS $$
    SELECT
        r.request_id, r.company_id, r.start_date, r.end_date, coalesce(r.sections, '{}'), r.format, r.currency,
        r.locale, r.page_size, r.state, r.requested_at, r.finished_at, r.problem, r.uri, r.size, r.sha256
    FROM analytics_report_requests AS r
    WHERE r.request_id = p_request AND (p_company IS NULL OR r.company_id = p_company)
$$;

COMMENT ON FUNCTION analytics_report_request_of IS
    'A request for a report, if it is of the company (null: whosever it is).';

CREATE OR REPLACE FUNCTION analytics_add_document_key(p_hash bytea, p_name text, p_sha256 text, p_valid_for interval)
RETURNS timestamptz
LANGUAGE sql
AS $$
    DELETE FROM analytics_document_keys AS k WHERE k.expires_at <= now();
    INSERT INTO analytics_document_keys (key_hash, name, sha256, expires_at)
    VALUES (p_hash, p_name, p_sha256, now() + p_valid_for)
    RETURNING expires_at
$$;

COMMENT ON FUNCTION analytics_add_document_key IS
    'Lets a key, of which this is the SHA-256, open a file of the store, and returns until when.';

CREATE OR REPLACE FUNCTION analytics_open_document(
    p_company text, p_document bigint, p_format text, p_hash bytea, p_valid_for interval
)
RETURNS timestamptz
LANGUAGE sql
AS $$
    SELECT analytics_add_document_key(p_hash, f.name, f.sha256, p_valid_for)
    FROM analytics_report_documents AS d
    JOIN analytics_report_files AS f USING (document_id)
    WHERE d.document_id = p_document AND f.format = p_format AND (p_company IS NULL OR d.company_id = p_company)
$$;

COMMENT ON FUNCTION analytics_open_document IS
    'Lets a key open a file of a company''s document (null: of anybody''s); null: there is no such file.';

CREATE OR REPLACE FUNCTION analytics_find_document_key(p_hash bytea)
RETURNS TABLE (name text, sha256 text)
LANGUAGE sql STABLE
AS $$
    SELECT k.name, k.sha256 FROM analytics_document_keys AS k WHERE k.key_hash = p_hash AND k.expires_at > now()
$$;

COMMENT ON FUNCTION analytics_find_document_key IS
    'The file that a key opens, by the key''s SHA-256; no row for one that is unknown or has expired.';

CREATE OR REPLACE FUNCTION analytics_listed_companies(p_start timestamptz, p_end timestamptz)
RETURNS text[]
LANGUAGE sql STABLE
AS $$
    SELECT ARRAY(
        SELECT c FROM unnest(analytics_companies_of(p_start, p_end)) AS c
        UNION
        SELECT t.company_id FROM analytics_api_tokens AS t WHERE t.company_id IS NOT NULL AND t.revoked_at IS NULL
        UNION
        SELECT r.company_id FROM analytics_companies AS r
        ORDER BY 1
    )
$$;

COMMENT ON FUNCTION analytics_listed_companies IS
    'The companies that have figures in a half-open window, a row of their own, or a token of the API, by id.';
