-- Invoices that were issued, and credit notes: amounts without tax, credit negative.
-- overlap: 1 hour
SELECT
    'invoice ' || invoice.id AS source_key,
    invoice.updated_at AS cursor_at,
    invoice.issued_at AS "timestamp",
    invoice.company_id,
    invoice.user_id::text AS user_id,
    'invoice.created' AS event_type,
    'billing' AS category,
    invoice.net_amount AS value,
    invoice.currency,
    jsonb_build_object('invoice', invoice.number, 'tax', invoice.tax_amount) AS metadata
FROM erp.invoices AS invoice
WHERE invoice.issued_at IS NOT NULL
UNION ALL
SELECT
    'credit note ' || note.id,
    note.updated_at,
    note.issued_at,
    invoice.company_id,
    invoice.user_id::text,
    'invoice.credited',
    'billing',
    -note.net_amount,
    invoice.currency,
    jsonb_build_object('credit_note', note.number, 'invoice', invoice.number, 'tax', -note.tax_amount)
FROM erp.credit_notes AS note
JOIN erp.invoices AS invoice ON invoice.id = note.invoice_id
WHERE note.issued_at IS NOT NULL
