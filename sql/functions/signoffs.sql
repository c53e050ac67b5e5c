-- Signing a month off, and what differs from the signed figures since.

CREATE OR REPLACE FUNCTION analytics_month_figures(p_company text, p_start timestamptz)
RETURNS TABLE (company_id text, audience text, metric text, figure text, value numeric)
LANGUAGE sql STABLE
AS $$
    SELECT
        r.company_id, CASE WHEN r.company_id IS NULL THEN 'all' ELSE 'company:' || r.company_id END,
        r.metric, f.figure, nullif(f.value, 'null')::text::numeric
    FROM (
        SELECT 'revenue_metrics' AS metric, m.company_id, m.granularity, m.period_date, to_jsonb(m) AS fields
        FROM analytics_revenue_metrics AS m
        UNION ALL
        SELECT 'mrr_movements', m.company_id, m.granularity, m.period_date, to_jsonb(m)
        FROM analytics_mrr_movements AS m
        UNION ALL
        SELECT 'user_metrics', m.company_id, m.granularity, m.period_date, to_jsonb(m)
        FROM analytics_user_metrics AS m
    ) AS r
    CROSS JOIN LATERAL jsonb_each(r.fields) AS f (figure, value)
    WHERE r.granularity = 'month' AND r.period_date = analytics_date(p_start)
      AND (p_company IS NULL OR r.company_id = p_company)
      AND (jsonb_typeof(f.value) = 'number' OR (f.value = 'null' AND f.figure <> 'company_id'))
$$;

COMMENT ON FUNCTION analytics_month_figures IS
    'Every figure of a closed month, which its first instant in UTC names, exact, by table and column: of a company, or (null) of each and of all together.';

-- Of each company the month is that of its own time zone.
CREATE OR REPLACE FUNCTION analytics_closed_month(p_company text, p_start timestamptz)
RETURNS TABLE (
    period_start timestamptz, period_end timestamptz, computed_at timestamptz, definitions_version integer, currency text
)
LANGUAGE sql STABLE
AS $$
    SELECT
        coalesce(min(m.period_start), p_start),
        coalesce(min(m.period_end), analytics_ceil('month', p_start + interval '1 microsecond')),
        -- Nothing is stale, so whatever came before the last of them is in all of them.
        max(m.computed_at),
        min(m.definitions_version) FILTER (WHERE m.metric = 'revenue_metrics'),
        min(m.currency) FILTER (WHERE m.metric = 'revenue_metrics')
    FROM analytics_metric_periods AS m
    LEFT JOIN analytics_closed_calendars() AS k ON k.company_id = p_company
    WHERE m.granularity = 'month' AND m.period_date = analytics_date(p_start)
      AND CASE
          WHEN k.company_id IS NULL THEN m.is_platform
          ELSE m.time_zone = k.time_zone AND m.currency = k.currency
      END
$$;

COMMENT ON FUNCTION analytics_closed_month IS
    'The instants of a month, which its first instant in UTC names, of a company (null: of the platform), and how it was closed there.';

CREATE OR REPLACE FUNCTION analytics_shown_figure(p_value numeric, p_unit text, p_currency text)
RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT CASE p_unit
        WHEN 'money' THEN analytics_round_money(p_value, p_currency)
        WHEN 'percent' THEN analytics_round_rate(p_value)
        WHEN 'ratio' THEN analytics_round_rate(p_value, 2)
        ELSE p_value
    END
$$;

COMMENT ON FUNCTION analytics_shown_figure IS
    'An exact figure rounded once as it is shown: an amount, a rate in per cent, a ratio, or a count.';

-- An hour that holds a late event was closed again, so that only such hours are read.
CREATE OR REPLACE FUNCTION analytics_changes_under(
    p_company text, p_since timestamptz, p_start timestamptz, p_end timestamptz, p_converts boolean
)
RETURNS TABLE (cause text, number bigint, first_at timestamptz, last_at timestamptz, detail text)
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
DECLARE
    is_found boolean := false;
BEGIN
    RETURN QUERY
    SELECT
        'late events', count(*), min(e.ingested_at), max(e.ingested_at),
        CASE
            WHEN max(e."timestamp") < p_start THEN 'of earlier months'
            WHEN min(e."timestamp") < p_start
            THEN format('%s of them of earlier months', count(*) FILTER (WHERE e."timestamp" < p_start))
        END
    FROM (
        SELECT unnest(range_agg(tstzrange(p.window_start, p.window_end))) AS stretch
        FROM analytics_partitions AS p
        WHERE p.asset = 'analytics_event_volume_hourly' AND p.window_end <= p_end AND p.closed_at > p_since
    ) AS s
    JOIN analytics_events AS e ON e."timestamp" >= lower(s.stretch) AND e."timestamp" < upper(s.stretch)
    WHERE e.ingested_at > p_since AND (p_company IS NULL OR e.company_id = p_company)
    HAVING count(*) > 0;
    is_found := is_found OR FOUND;

    RETURN QUERY
    SELECT 'replaced events', count(*), min(c.decided_at), max(c.decided_at), NULL::text
    FROM analytics_event_conflicts AS c
    WHERE c.outcome = 'replaced' AND c.decided_at > p_since AND c."timestamp" < p_end
      AND (p_company IS NULL OR c.company_id = p_company)
    HAVING count(*) > 0;
    is_found := is_found OR FOUND;

    -- A rate serves its day and the seven after it.
    RETURN QUERY
    SELECT
        'rates', count(*), min(r.loaded_at), max(r.loaded_at), string_agg(DISTINCT concat(r.base, '/', r.quote), ', ')
    FROM analytics_fx_rates AS r
    WHERE p_converts AND r.loaded_at > p_since
      AND r.rate_date >= analytics_date(analytics_previous_start(p_start, p_end)) - 7
      AND r.rate_date < analytics_date(p_end)
    HAVING count(*) > 0;
    is_found := is_found OR FOUND;

    RETURN QUERY
    SELECT 'renamed ids', count(*), min(a.happened_at), max(a.happened_at), NULL::text
    FROM analytics_audit AS a
    WHERE a.act = 'id.rename' AND a.happened_at > p_since
      AND (p_company IS NULL OR p_company IN (a.subject, a.details ->> 'present'))
    HAVING count(*) > 0;
    is_found := is_found OR FOUND;

    IF NOT is_found THEN
        RETURN QUERY
        SELECT
            'closed again', NULL::bigint, min(p.closed_at), max(p.closed_at),
            -- Those of them that were late are gone too.
            CASE WHEN p_start < analytics_events_from() THEN 'events expired' END
        FROM analytics_partitions AS p
        WHERE p.asset IN ('revenue_metrics_monthly', 'mrr_movements_monthly', 'user_metrics_monthly')
          -- A local month begins within a day of that of UTC.
          AND p.window_start = analytics_floor('month', p_start + interval '1 day') AND p.closed_at > p_since
        HAVING count(*) > 0;
    END IF;
END
$$;

COMMENT ON FUNCTION analytics_changes_under IS
    'What has changed under a company''s figures of a month (null: those of all) since an instant; rates only where amounts are converted.';

-- A figure that a later release has besides is not compared, and neither is one by other definitions or in another
-- reporting currency: that is one cause, and no restatement of every figure.
CREATE OR REPLACE FUNCTION analytics_signoffs_of(p_company text, p_start timestamptz, p_end timestamptz)
RETURNS TABLE (
    signoff_id bigint, company_id text, period_start timestamptz, period_end timestamptz, signed_by text,
    signed_at timestamptz, definitions_version integer, currency text, document_id bigint, document_sha256 text,
    document_is_current boolean, withdrawn_at timestamptz, withdrawn_by text, withdrawn_because text,
    restatements jsonb, causes jsonb
)
LANGUAGE sql STABLE
AS $$
    WITH signed AS MATERIALIZED (
        SELECT
            s.*, m.definitions_version AS version_now, m.currency AS currency_now,
            m.period_start AS first_instant, m.period_end AS last_instant,
            s.withdrawn_at IS NULL AND m.computed_at > s.signed_at AS is_recomputed
        FROM analytics_signoffs AS s
        CROSS JOIN LATERAL analytics_closed_month(s.company_id, s.period_start) AS m
        WHERE (p_company IS NULL OR s.company_id = p_company)
          AND (p_start IS NULL OR s.period_start >= p_start) AND (p_end IS NULL OR s.period_start < p_end)
    ),
    present AS MATERIALIZED (
        SELECT s.period_start, f.audience, f.metric, f.figure, f.value
        FROM (SELECT DISTINCT g.period_start FROM signed AS g WHERE g.is_recomputed) AS s
        CROSS JOIN LATERAL analytics_month_figures(p_company, s.period_start) AS f
    ),
    compared AS (
        SELECT
            s.signoff_id, k.metric, k.figure, k.unit, k.place,
            analytics_shown_figure(k.value, k.unit, s.currency) AS before,
            analytics_shown_figure(p.value, k.unit, s.currency) AS after
        FROM signed AS s
        JOIN analytics_signed_figures AS k ON k.signoff_id = s.signoff_id
        LEFT JOIN present AS p
            ON p.period_start = s.period_start AND p.audience = s.audience
           AND p.metric = k.metric AND p.figure = k.figure
        WHERE s.is_recomputed AND s.definitions_version = s.version_now AND s.currency = s.currency_now
          AND k.value IS DISTINCT FROM p.value
    ),
    restated AS (
        SELECT
            c.signoff_id,
            bool_or(c.unit = 'money') AS has_amounts,
            jsonb_agg(
                jsonb_build_object(
                    'metric', c.metric, 'figure', c.figure, 'unit', c.unit, 'before', c.before::text,
                    'after', c.after::text, 'difference', (c.after - c.before)::text
                )
                ORDER BY c.place
            ) AS restatements
        FROM compared AS c
        -- Without a row money and counts are zero.
        WHERE CASE WHEN c.unit IN ('money', 'count')
                   THEN coalesce(c.before, 0) <> coalesce(c.after, 0)
                   ELSE c.before IS DISTINCT FROM c.after END
        GROUP BY c.signoff_id
    )
    SELECT
        s.signoff_id, s.company_id, s.period_start, s.period_end, s.signed_by, s.signed_at, s.definitions_version,
        s.currency, s.document_id, s.document_sha256, d.is_current,
        s.withdrawn_at, s.withdrawn_by, s.withdrawn_because,
        coalesce(r.restatements, '[]'), coalesce(b.causes, '[]') || coalesce(c.causes, '[]')
    FROM signed AS s
    JOIN analytics_report_documents AS d ON d.document_id = s.document_id
    LEFT JOIN restated AS r ON r.signoff_id = s.signoff_id
    CROSS JOIN LATERAL (
        -- The change of a company's calendar belongs here as well.
        SELECT jsonb_agg(jsonb_build_object('cause', v.cause, 'detail', v.detail)) AS causes
        FROM (
            VALUES
                ('definitions', s.definitions_version::text, s.version_now::text),
                ('currency', s.currency, s.currency_now)
        ) AS w (cause, before, after)
        CROSS JOIN LATERAL (SELECT w.cause, concat(w.before, ' before, ', w.after, ' now') AS detail) AS v
        WHERE s.withdrawn_at IS NULL AND w.before <> w.after
    ) AS b
    CROSS JOIN LATERAL (
        SELECT
            jsonb_agg(
                jsonb_build_object(
                    'cause', u.cause, 'number', u.number, 'first', u.first_at, 'last', u.last_at, 'detail', u.detail
                )
            ) AS causes
        FROM (SELECT r.has_amounts WHERE r.signoff_id IS NOT NULL) AS f
        CROSS JOIN LATERAL analytics_changes_under(
            s.company_id, s.figures_at, s.first_instant, s.last_instant, f.has_amounts
        ) AS u
    ) AS c
    ORDER BY s.period_start DESC, s.audience, s.signoff_id DESC
$$;

COMMENT ON FUNCTION analytics_signoffs_of IS
    'The sign-offs of months that begin in a half-open window (null: ever), of a company (null: every one, and all together), each with the figures that differ since and why.';

-- Who is signed already is left out, but for the one that was asked for.
CREATE OR REPLACE FUNCTION analytics_signoff_audiences(p_company text, p_start timestamptz)
RETURNS TABLE (company_id text, audience text, has_figures boolean, is_signed boolean)
LANGUAGE sql STABLE
AS $$
    WITH figure AS MATERIALIZED (
        SELECT DISTINCT f.company_id, f.audience FROM analytics_month_figures(p_company, p_start) AS f
    )
    SELECT a.company_id, a.audience, f.audience IS NOT NULL, s.signoff_id IS NOT NULL
    FROM (
        SELECT p_company AS company_id, CASE WHEN p_company IS NULL THEN 'all' ELSE 'company:' || p_company END AS audience
        UNION
        SELECT g.company_id, g.audience FROM figure AS g
    ) AS a
    LEFT JOIN figure AS f ON f.audience = a.audience
    LEFT JOIN analytics_signoffs AS s
        ON s.period_start = p_start AND s.audience = a.audience AND s.withdrawn_at IS NULL
    WHERE s.signoff_id IS NULL OR a.company_id IS NOT DISTINCT FROM p_company
$$;

COMMENT ON FUNCTION analytics_signoff_audiences IS
    'Whose month is to be signed: a company''s, or (null) that of all together and of each company that is not signed yet.';

CREATE OR REPLACE FUNCTION analytics_signoff_obstacles(
    p_company text, p_start timestamptz, p_version integer, p_currency text, p_zone text
)
RETURNS TABLE (company_id text, obstacle text)
LANGUAGE plpgsql STABLE
AS $$
#variable_conflict use_column
DECLARE
    month_end timestamptz := analytics_ceil('month', p_start + interval '1 microsecond');
    month text := to_char(p_start AT TIME ZONE 'UTC', 'YYYY-MM');
BEGIN
    IF now() < (
        SELECT max(analytics_local_start(analytics_date(month_end), z.time_zone))
        FROM (
            SELECT p_zone AS time_zone WHERE p_company IS NULL
            UNION
            SELECT k.time_zone FROM analytics_calendars(p_zone, p_currency) AS k
            WHERE p_company IS NULL OR k.company_id = p_company
            UNION
            SELECT p_zone WHERE NOT EXISTS (SELECT FROM analytics_companies AS c WHERE c.company_id = p_company)
        ) AS z
    ) THEN
        RETURN QUERY SELECT NULL::text, 'it is not over';
        RETURN;
    END IF;
    RETURN QUERY
    SELECT
        NULL::text,
        format(
            '%s of its assets %s not closed, or stale: %s', count(*), CASE WHEN count(*) = 1 THEN 'is' ELSE 'are' END,
            string_agg(
                format('%s from %s on', g.asset, to_char(lower(g.gap) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI')), ', '
                ORDER BY g.asset
            ) FILTER (WHERE g.number <= 3)
        )
    FROM (
        SELECT a.asset, a.gap, row_number() OVER (ORDER BY a.asset) AS number
        FROM (
            SELECT
                w.asset,
                tstzmultirange(tstzrange(p_start, month_end))
                    - coalesce(
                        range_agg(tstzrange(s.stretch_start, s.stretch_end)) FILTER (WHERE s.asset IS NOT NULL), '{}'
                    ) AS gap
            FROM (
                SELECT DISTINCT p.asset FROM analytics_partitions AS p
                WHERE p.window_start < month_end AND p.window_end > p_start
                UNION
                VALUES
                    ('analytics_event_volume_hourly'), ('revenue_metrics_monthly'), ('mrr_movements_monthly'),
                    ('user_metrics_monthly'), ('monthly_report'), ('company_reports')
            ) AS w (asset)
            LEFT JOIN analytics_closing_stretches(p_start, month_end) AS s ON s.asset = w.asset AND s.state = 'closed'
            GROUP BY w.asset
        ) AS a
        WHERE NOT isempty(a.gap)
    ) AS g
    HAVING count(*) > 0;
    RETURN QUERY
    SELECT NULL::text, format('its figures are to be computed again, because of: %s', string_agg(DISTINCT m.causes, ', '))
    FROM analytics_stale_metric_periods(p_version, p_zone, p_currency, analytics_events_from()) AS m
    WHERE m.period_date >= analytics_date(p_start) AND m.period_date < analytics_date(month_end)
      AND (p_company IS NULL OR m.companies IS NULL OR p_company = ANY (m.companies))
    HAVING count(*) > 0;
    RETURN QUERY
    SELECT NULL::text, format('the check %s of %s has failed: %s', r.check_name, r.subject, r.summary)
    FROM analytics_check_results AS r
    WHERE NOT r.passed AND r.severity = 'error' AND r.window_start >= p_start AND r.window_end <= month_end
    ORDER BY r.checked_at DESC
    LIMIT 3;
    -- Nothing that follows is worth saying of a month that was never closed.
    IF EXISTS (
        SELECT FROM unnest(ARRAY['revenue_metrics', 'mrr_movements', 'user_metrics']) AS w (metric)
        WHERE NOT EXISTS (
            SELECT FROM analytics_metric_periods AS m
            WHERE m.metric = w.metric AND m.granularity = 'month' AND m.period_date = analytics_date(p_start)
        )
    ) THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT a.company_id, o.obstacle
    FROM analytics_signoff_audiences(p_company, p_start) AS a
    LEFT JOIN analytics_report_documents AS d
        ON d.report = 'monthly_report' AND d.period = month AND d.audience = a.audience AND d.is_current
    CROSS JOIN LATERAL (
        SELECT CASE
            WHEN a.is_signed THEN 'it is signed already: withdraw that first'
            WHEN NOT a.has_figures THEN 'it has no figures in the month'
            WHEN d.document_id IS NULL THEN 'its report has not been made'
            WHEN d.provisional OR d.definitions_version <> p_version OR d.rendered_at < (
                SELECT m.computed_at FROM analytics_closed_month(a.company_id, p_start) AS m
            ) THEN 'its report was made before its figures were computed last: materialise monthly_report and company_reports'
            WHEN d.cautions IS NULL THEN 'its report was made by an earlier release: materialise monthly_report and company_reports'
            WHEN d.cautions <> '[]'
            THEN format('its report says of its data: %s', (SELECT string_agg(c, ' ') FROM jsonb_array_elements_text(d.cautions) AS c))
        END AS obstacle
    ) AS o
    WHERE o.obstacle IS NOT NULL
    ORDER BY a.company_id NULLS FIRST;
END
$$;

COMMENT ON FUNCTION analytics_signoff_obstacles IS
    'Why a month can''t be signed off for a company (null: for all together and each); no row: it can.';

CREATE OR REPLACE FUNCTION analytics_sign_month(
    p_company text, p_start timestamptz, p_signed_by text, p_actor text, p_version integer, p_currency text,
    p_zone text, p_figures jsonb
)
RETURNS TABLE (company_id text, signoff_id bigint, obstacle text)
LANGUAGE plpgsql VOLATILE
AS $$
#variable_conflict use_column
DECLARE
    month text := to_char(p_start AT TIME ZONE 'UTC', 'YYYY-MM');
    signed bigint;
BEGIN
    RETURN QUERY
    SELECT o.company_id, NULL::bigint, o.obstacle
    FROM analytics_signoff_obstacles(p_company, p_start, p_version, p_currency, p_zone) AS o;
    IF FOUND THEN
        RETURN;
    END IF;
    RETURN QUERY
    WITH signed AS (
        INSERT INTO analytics_signoffs AS s (
            company_id, period, period_start, period_end, signed_by, figures_at, definitions_version, currency,
            document_id, document_sha256
        )
        SELECT
            a.company_id, month, p_start, analytics_ceil('month', p_start + interval '1 microsecond'), p_signed_by,
            m.computed_at, m.definitions_version, m.currency, d.document_id, d.sha256
        FROM analytics_signoff_audiences(p_company, p_start) AS a
        JOIN analytics_report_documents AS d
            ON d.report = 'monthly_report' AND d.period = month
           AND d.audience = a.audience AND d.is_current
        CROSS JOIN LATERAL analytics_closed_month(a.company_id, p_start) AS m
        RETURNING s.signoff_id, s.company_id, s.audience
    ),
    figure AS (
        INSERT INTO analytics_signed_figures (signoff_id, metric, figure, unit, place, value)
        SELECT s.signoff_id, f.metric, f.figure, f.unit, f.place, m.value
        FROM signed AS s
        CROSS JOIN jsonb_to_recordset(p_figures) AS f (metric text, figure text, unit text, place integer)
        LEFT JOIN analytics_month_figures(p_company, p_start) AS m
            ON m.audience = s.audience AND m.metric = f.metric AND m.figure = f.figure
    )
    SELECT s.company_id, s.signoff_id, NULL::text FROM signed AS s ORDER BY s.company_id NULLS FIRST;
    GET DIAGNOSTICS signed = ROW_COUNT;
    PERFORM analytics_record_act(
        p_actor, 'period.sign', concat_ws(' ', month, p_company),
        jsonb_build_object('signed_by', p_signed_by, 'company_id', p_company, 'signoffs', signed)
    );
END
$$;

COMMENT ON FUNCTION analytics_sign_month IS
    'Signs a month off, of a company or (null) of all together and each, and returns whose; or signs nothing and returns why not.';

CREATE OR REPLACE FUNCTION analytics_withdraw_signoffs(
    p_company text, p_start timestamptz, p_withdrawn_by text, p_because text, p_actor text
)
RETURNS SETOF text
LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    RETURN QUERY
    WITH withdrawn AS (
        UPDATE analytics_signoffs AS s
        SET withdrawn_at = clock_timestamp(), withdrawn_by = p_withdrawn_by, withdrawn_because = p_because
        WHERE s.period_start = p_start AND s.withdrawn_at IS NULL AND (p_company IS NULL OR s.company_id = p_company)
        RETURNING s.company_id
    )
    SELECT w.company_id FROM withdrawn AS w ORDER BY w.company_id NULLS FIRST;
    IF FOUND THEN
        PERFORM analytics_record_act(
            p_actor, 'period.withdraw', concat_ws(' ', to_char(p_start AT TIME ZONE 'UTC', 'YYYY-MM'), p_company),
            jsonb_build_object('withdrawn_by', p_withdrawn_by, 'company_id', p_company, 'because', p_because)
        );
    END IF;
END
$$;

COMMENT ON FUNCTION analytics_withdraw_signoffs IS
    'Withdraws what stands of a month, of a company or (null) of everybody, and returns of whom: null, all together.';

CREATE OR REPLACE FUNCTION analytics_is_beside_signed(p_document analytics_report_documents)
RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT EXISTS (
        SELECT
        FROM analytics_signoffs AS s
        WHERE s.period = (p_document).period AND s.audience = (p_document).audience AND s.withdrawn_at IS NULL
          AND s.document_id <> (p_document).document_id
    )
$$;

COMMENT ON FUNCTION analytics_is_beside_signed IS
    'Whether the month of a document was signed with another revision of it.';

CREATE OR REPLACE FUNCTION analytics_is_signed(p_document analytics_report_documents)
RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT EXISTS (
        SELECT FROM analytics_signoffs AS s
        WHERE s.document_id = (p_document).document_id AND s.withdrawn_at IS NULL
    )
$$;

COMMENT ON FUNCTION analytics_is_signed IS 'Whether a document is the one with which its month was signed off.';
