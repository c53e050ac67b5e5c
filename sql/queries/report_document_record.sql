-- A document that was rendered counts from now on; the same bytes again are the same document.
WITH recorded AS (
    INSERT INTO analytics_report_documents (
        report, company_id, period, period_end, uri, name, size, sha256, pages, figures,
        data_through, provisional, definitions_version, cautions, corrections, shown_figures, run_id
    )
    VALUES (
        %(report)s, %(company_id)s, %(period)s, %(period_end)s, %(uri)s, %(name)s, %(size)s, %(sha256)s, %(pages)s,
        %(figures)s, %(data_through)s, %(provisional)s, %(definitions_version)s, %(cautions)s, %(corrections)s,
        %(shown_figures)s, %(run_id)s
    )
    ON CONFLICT (report, audience, period, sha256) DO UPDATE
    SET uri = excluded.uri,
        name = excluded.name,
        pages = excluded.pages,
        figures = excluded.figures,
        data_through = excluded.data_through,
        provisional = excluded.provisional,
        definitions_version = excluded.definitions_version,
        cautions = excluded.cautions,
        corrections = excluded.corrections,
        shown_figures = excluded.shown_figures,
        rendered_at = now(),
        run_id = excluded.run_id,
        is_current = true,
        held_because = DEFAULT,
        judged_at = NULL
    RETURNING document_id, uri, name, size, sha256
),
file AS (
    INSERT INTO analytics_report_files (document_id, format, uri, name, size, sha256)
    SELECT document_id, 'pdf', uri, name, size, sha256
    FROM recorded
    ON CONFLICT (document_id, format) DO UPDATE SET uri = excluded.uri, name = excluded.name
)
SELECT document_id FROM recorded
