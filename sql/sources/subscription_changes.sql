-- Every change of a subscription, from its history: price of one unit per interval without tax, and the state.
-- overlap: 1 hour
SELECT
    'change ' || history.id AS source_key,
    history.updated_at AS cursor_at,
    history.changed_at AS "timestamp",
    subscription.company_id,
    subscription.user_id::text AS user_id,
    'subscription.' || history.change AS event_type,
    'subscription' AS category,
    history.net_price AS value,
    history.currency,
    jsonb_build_object(
        'subscription_id', subscription.id::text,
        'interval', history.billing_interval,
        'interval_count', history.interval_count,
        'quantity', history.quantity,
        'status', history.status
    ) AS metadata
FROM erp.subscription_history AS history
JOIN erp.subscriptions AS subscription ON subscription.id = history.subscription_id
