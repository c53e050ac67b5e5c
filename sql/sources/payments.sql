-- Payments that arrived, and refunds: refund negative, each on its own date.
-- overlap: 1 hour
SELECT
    'payment ' || payment.id AS source_key,
    payment.updated_at AS cursor_at,
    payment.received_at AS "timestamp",
    payment.company_id,
    payment.user_id::text AS user_id,
    'payment.received' AS event_type,
    'revenue' AS category,
    payment.amount AS value,
    payment.currency,
    jsonb_strip_nulls(jsonb_build_object('method', payment.method, 'invoice_id', payment.invoice_id)) AS metadata
FROM erp.payments AS payment
WHERE payment.received_at IS NOT NULL
UNION ALL
SELECT
    'refund ' || refund.id,
    refund.updated_at,
    refund.refunded_at,
    payment.company_id,
    payment.user_id::text,
    'payment.refunded',
    'revenue',
    -refund.amount,
    payment.currency,
    jsonb_build_object('payment_id', payment.id)
FROM erp.refunds AS refund
JOIN erp.payments AS payment ON payment.id = refund.payment_id
WHERE refund.refunded_at IS NOT NULL
