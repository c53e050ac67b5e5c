-- Events of known subscription types that don't say what a subscription's change has to say: they are in no figure.
SELECT
    e.event_id, e."timestamp", e.company_id, e.user_id, e.event_type, e.category, e.value, e.currency, e.metadata,
    count(*) OVER ()
FROM analytics_events AS e
WHERE e."timestamp" >= now() - %(look_back)s::interval
  AND e.category = 'subscription'
  AND e.event_type = ANY (%(types)s)
  AND NOT analytics_is_subscription_event(
      e.event_type, e.value, e.currency, e.metadata ->> 'subscription_id', e.metadata ->> 'status',
      e.metadata ->> 'interval', e.metadata ->> 'interval_count', e.metadata ->> 'quantity'
  )
ORDER BY e."timestamp" DESC, e.event_id
LIMIT %(most)s
