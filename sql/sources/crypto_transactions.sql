-- Confirmed crypto transactions: quantity in the asset's ticker, what it was worth in metadata.
-- overlap: 1 hour
SELECT
    'transaction ' || movement.id AS source_key,
    movement.updated_at AS cursor_at,
    movement.confirmed_at AS "timestamp",
    movement.company_id,
    movement.user_id::text AS user_id,
    'crypto.' || movement.direction AS event_type,
    'crypto' AS category,
    trim_scale(movement.quantity) AS value,
    movement.asset AS currency,
    jsonb_strip_nulls(jsonb_build_object(
        'fiat_value', movement.fiat_value,
        'fiat_currency', movement.fiat_currency,
        'to_currency', movement.to_asset,
        'to_quantity', trim_scale(movement.to_quantity),
        'tx_hash', movement.tx_hash
    )) AS metadata
FROM erp.crypto_transactions AS movement
WHERE movement.confirmed_at IS NOT NULL
