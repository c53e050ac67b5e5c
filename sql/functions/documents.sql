-- Documents beside each other: which figures differ, and what the document that counts is to the one that was mailed.

-- Only columns and figures that both documents know are compared, so that a release that shows more corrects nothing; a figure by
-- another version of the definitions differs by definition, and is no change either.
CREATE OR REPLACE FUNCTION analytics_changed_figures(p_before jsonb, p_after jsonb)
RETURNS TABLE (name text, label text, kind text, before text, after text, difference numeric, place bigint)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT f.name, f.label, f.kind, f.before, f.after, f.difference, f.place
    FROM (
        SELECT
            coalesce(a.name, b.name) AS name,
            coalesce(a.label, b.label) AS label,
            coalesce(a.kind, b.kind) AS kind,
            b.value AS before,
            a.value AS after,
            CASE WHEN a.value ~ '^-?\d+(\.\d+)?$' AND b.value ~ '^-?\d+(\.\d+)?$'
                 THEN a.value::numeric - b.value::numeric END AS difference,
            coalesce(a.place, b.place) AS place,
            CASE
                -- A table that shows the period before as well has a row for each of its figures, whatever the data: one
                -- that a document has not is one that its release did not show.
                WHEN a.name IS NULL OR b.name IS NULL
                THEN NOT p_after -> 'columns' ? concat(split_part(coalesce(a.name, b.name), '/', 1), '/previous')
                ELSE a.version IS NOT DISTINCT FROM b.version
            END AS is_comparable
        FROM (
            SELECT e.place, e.figure ->> 'name' AS name, e.figure ->> 'label' AS label, e.figure ->> 'kind' AS kind,
                   e.figure ->> 'value' AS value, e.figure ->> 'version' AS version
            FROM jsonb_array_elements(p_after -> 'figures') WITH ORDINALITY AS e (figure, place)
        ) AS a
        FULL JOIN (
            SELECT e.place, e.figure ->> 'name' AS name, e.figure ->> 'label' AS label, e.figure ->> 'kind' AS kind,
                   e.figure ->> 'value' AS value, e.figure ->> 'version' AS version
            FROM jsonb_array_elements(p_before -> 'figures') WITH ORDINALITY AS e (figure, place)
        ) AS b ON b.name = a.name
    ) AS f
    WHERE f.is_comparable
      AND f.before IS DISTINCT FROM f.after
      AND f.difference IS DISTINCT FROM 0
      AND p_before -> 'columns' ? concat(split_part(f.name, '/', 1), '/', split_part(f.name, '/', 2))
      AND p_after -> 'columns' ? concat(split_part(f.name, '/', 1), '/', split_part(f.name, '/', 2))
    ORDER BY f.place, f.name
$$;

COMMENT ON FUNCTION analytics_changed_figures IS
    'The figures in which two documents differ (analytics_report_documents.shown_figures), in the order of the later one.';

CREATE OR REPLACE FUNCTION analytics_changed_figures_list(p_before jsonb, p_after jsonb)
RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT coalesce(
        jsonb_agg(
            jsonb_build_object(
                'name', f.name, 'label', f.label, 'kind', f.kind, 'before', f.before, 'after', f.after,
                'difference', f.difference::text
            )
            ORDER BY f.place, f.name
        ),
        '[]'
    )
    FROM analytics_changed_figures(p_before, p_after) AS f
$$;

COMMENT ON FUNCTION analytics_changed_figures_list IS
    'analytics_changed_figures as a JSON list, as analytics_report_documents.corrections holds it.';

CREATE OR REPLACE FUNCTION analytics_document_relation(
    p_mailed analytics_report_documents, p_current analytics_report_documents
)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT CASE
        WHEN (p_current).document_id IS NULL THEN 'withdrawn'
        WHEN (p_current).document_id = (p_mailed).document_id THEN 'current'
        WHEN (p_current).definitions_version <> (p_mailed).definitions_version THEN 'other definitions'
        WHEN EXISTS (
            SELECT FROM analytics_changed_figures((p_mailed).shown_figures, (p_current).shown_figures)
        ) THEN 'corrected'
        ELSE 'same figures'
    END
$$;

COMMENT ON FUNCTION analytics_document_relation IS
    'What the document that counts is to one that was mailed: itself, corrected, by other definitions, of the same figures, or none any more.';

-- One that is unknown, or just on its way, may have arrived.
CREATE OR REPLACE FUNCTION analytics_last_mailed(p_recipient bigint, p_period text)
RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT o.outbox_id
    FROM analytics_outbox AS o
    WHERE o.recipient_id = p_recipient AND o.period = p_period AND o.state IN ('sent', 'unknown', 'sending')
    ORDER BY coalesce(o.sent_at, o.claimed_at) DESC NULLS LAST, o.outbox_id DESC
    LIMIT 1
$$;

COMMENT ON FUNCTION analytics_last_mailed IS
    'The message by which a recipient was mailed a report of a period last, null: by none.';

CREATE OR REPLACE FUNCTION analytics_report_mail_key(
    p_document analytics_report_documents, p_address_key text, p_of_revision boolean
)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT (
        jsonb_build_array('report', (p_document).report, (p_document).audience, (p_document).period, p_address_key)
        || CASE WHEN p_of_revision THEN jsonb_build_array((p_document).sha256) ELSE '[]' END
    )::text
$$;

COMMENT ON FUNCTION analytics_report_mail_key IS
    'What makes a mail of a report one: report, company, period, address, and of a document sent again its revision.';

CREATE OR REPLACE FUNCTION analytics_is_due_mail(
    p_recipient analytics_report_recipients, p_document analytics_report_documents, p_within interval
)
RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT (p_document).rendered_at >= (p_document).period_end
        -- Beside the signed document a person sends what is to be sent.
        AND NOT analytics_is_beside_signed(p_document)
        AND CASE
            WHEN NOT EXISTS (
                SELECT
                FROM analytics_outbox AS o
                WHERE o.recipient_id = (p_recipient).recipient_id AND o.period = (p_document).period
            ) THEN (p_document).period_end > now() - p_within
            ELSE coalesce((p_recipient).corrections_from <= (p_document).rendered_at, false)
                AND NOT EXISTS (
                    SELECT
                    FROM analytics_outbox AS o
                    WHERE o.recipient_id = (p_recipient).recipient_id AND o.period = (p_document).period
                      AND (o.document_id = (p_document).document_id OR o.state = 'pending')
                )
                AND EXISTS (
                    SELECT
                    FROM analytics_outbox AS o
                    JOIN analytics_report_documents AS e ON e.document_id = o.document_id
                    WHERE o.outbox_id = analytics_last_mailed((p_recipient).recipient_id, (p_document).period)
                      AND analytics_document_relation(e, p_document) = 'corrected'
                )
        END
$$;

COMMENT ON FUNCTION analytics_is_due_mail IS
    'Whether a recipient is mailed a document by itself: the first of its period, or a correction where the subscription asks for it.';
