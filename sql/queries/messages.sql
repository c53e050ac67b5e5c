-- name: incident_claim
-- Take the failures and recoveries about which a message is due, oldest first, as a part of the transaction that puts it into
-- the outbox. Whoever takes others at the same time is not waited for.
WITH due AS (
    SELECT key
    FROM analytics_notifications
    WHERE state = 'pending'
    ORDER BY first_at, key
    LIMIT %(most)s
    FOR UPDATE SKIP LOCKED
)
UPDATE analytics_notifications AS n
SET state = 'enqueued', enqueued_at = now()
FROM due
WHERE n.key = due.key
RETURNING
    n.key, n.subject, n.first_at, n.last_at, n.count, n.recovered_at,
    n.partitions, n.error, n.remedy, n.link, n.recovery


-- name: incident_failure
-- Record one occurrence of a failure. The same occurrence again changes nothing: it is not newer than
-- the row that is open, or lies within one that has recovered.
WITH again AS (
    UPDATE analytics_notifications
    SET count = count + 1,
        last_at = %(at)s,
        partitions = %(partitions)s,
        error = %(error)s,
        remedy = %(remedy)s,
        link = %(link)s,
        details = %(details)s,
        -- After a quiet day it is news again.
        state = CASE WHEN %(at)s > last_at + interval '1 day' THEN 'pending' ELSE state END
    WHERE (source, subject) = (%(source)s, %(subject)s) AND recovered_at IS NULL AND last_at < %(at)s
)
INSERT INTO analytics_notifications (key, source, subject, first_at, last_at, partitions, error, remedy, link, details)
SELECT
    %(key)s, %(source)s, %(subject)s, %(since)s, %(at)s,
    %(partitions)s, %(error)s, %(remedy)s, %(link)s, %(details)s::jsonb
WHERE NOT EXISTS (
    SELECT FROM analytics_notifications
    WHERE (source, subject) = (%(source)s, %(subject)s) AND recovered_at >= %(at)s
)
ON CONFLICT DO NOTHING


-- name: incident_open
-- The failures that have not recovered, as one source recorded them.
SELECT subject, last_at, details
FROM analytics_notifications
WHERE source = %(source)s AND recovered_at IS NULL
ORDER BY first_at, key


-- name: incident_recovery
-- Close the open failure of a subject, unless it failed again after the success.
UPDATE analytics_notifications
SET recovered_at = %(at)s,
    recovery = %(recovery)s,
    state = 'pending'
WHERE (source, subject) = (%(source)s, %(subject)s) AND recovered_at IS NULL AND last_at <= %(at)s


-- name: outbox_bounced
-- A mail that a server had taken has come back: it was not delivered. One that is known to have come back stays as it is.
WITH bounced AS (
    UPDATE analytics_outbox
    SET state = 'failed', sent_at = NULL, settled_at = now(), problem = %(problem)s
    WHERE message_id = ANY (%(message_ids)s::text[]) AND channel = 'mail' AND state IN ('sent', 'unknown')
    RETURNING outbox_id, target, problem
)
SELECT outbox_id, target, problem FROM bounced
UNION ALL
SELECT outbox_id, target, problem
FROM analytics_outbox
WHERE message_id = ANY (%(message_ids)s::text[]) AND state = 'failed' AND problem LIKE 'bounced: %%'
LIMIT 1


-- name: outbox_channel_down
-- What is due by a channel that can't be used fares like the message that found out, without asking again.
UPDATE analytics_outbox AS o
SET attempts = attempts + 1,
    state = CASE WHEN attempts + 1 >= %(most_attempts)s THEN 'failed' ELSE 'pending' END,
    problem = %(problem)s,
    next_attempt_at = now() + analytics_outbox_pause(attempts + 1),
    settled_at = CASE WHEN attempts + 1 >= %(most_attempts)s THEN now() END
WHERE o.outbox_id IN (
    SELECT d.outbox_id
    FROM analytics_outbox AS d
    WHERE d.state = 'pending' AND d.next_attempt_at <= now() AND d.channel = %(channel)s
      AND analytics_outbox_may_leave(d)
    FOR UPDATE OF d SKIP LOCKED
)
RETURNING state


-- name: outbox_claim
-- Take the message that has been due for longest. Rows that another sender is just taking are passed over.
WITH due AS (
    SELECT o.outbox_id
    FROM analytics_outbox AS o
    WHERE o.state = 'pending'
      AND o.next_attempt_at <= now()
      AND o.channel = ANY (%(channels)s)
      AND (%(kinds)s::text[] IS NULL OR o.kind = ANY (%(kinds)s))
      AND analytics_outbox_may_leave(o)
    ORDER BY o.next_attempt_at, o.outbox_id
    LIMIT 1
    FOR UPDATE OF o SKIP LOCKED
)
UPDATE analytics_outbox AS o
SET state = 'sending',
    attempts = o.attempts + 1,
    claimed_by = %(sender)s,
    claimed_at = now(),
    lease_until = now() + %(lease)s,
    transmitting_at = NULL,
    -- The same on every attempt, and another one in a database that was copied or set up anew.
    message_id = coalesce(
        o.message_id,
        format('<%%s-%%s.%%s@%%s>', o.kind, o.outbox_id, (extract(epoch FROM o.created_at) * 1000000)::bigint, %(domain)s::text)
    )
FROM due
WHERE o.outbox_id = due.outbox_id
RETURNING
    o.outbox_id, o.kind, o.channel, o.target, o.subject, o.text_body, o.html_body, o.message_id,
    (SELECT r.unsubscribe_key FROM analytics_report_recipients AS r WHERE r.recipient_id = o.recipient_id),
    o.attachment_name, o.attachment_uri, o.attachment_file, o.attachment_size, o.attachment_sha256


-- name: outbox_discard
-- A person does not want it sent, or knows that it has arrived.
UPDATE analytics_outbox
SET state = 'discarded', settled_at = now()
WHERE outbox_id = ANY (%(ids)s) AND state IN ('pending', 'failed', 'unknown')
RETURNING outbox_id


-- name: outbox_due
-- How many messages are due by the channels there are, those whose sender has died included.
SELECT count(*)
FROM analytics_outbox AS o
WHERE (
        state = 'pending' AND next_attempt_at <= now()
        AND channel = ANY (%(channels)s::text[])
        AND analytics_outbox_may_leave(o)
    )
    OR (state = 'sending' AND lease_until < now())


-- name: outbox_enqueue
-- Put a message into the outbox; one of the same key is the same message.
INSERT INTO analytics_outbox (
    kind, channel, dedupe_key, about, company_id, target, subject, text_body, html_body,
    attachment_uri, attachment_name, attachment_file, attachment_sha256, attachment_size
)
VALUES (
    %(kind)s, %(channel)s, %(dedupe_key)s, %(about)s, %(company_id)s, %(target)s, %(subject)s, %(text)s, %(html)s,
    %(attachment_uri)s, %(attachment_name)s, %(attachment_file)s, %(attachment_sha256)s, %(attachment_size)s
)
ON CONFLICT (dedupe_key) DO NOTHING


-- name: outbox_health
-- How the outbox stands: what ended badly lately, and what waits too long.
SELECT
    count(*) FILTER (WHERE state = 'failed' AND settled_at > now() - %(look_back)s),
    count(*) FILTER (
        WHERE (state = 'unknown' AND settled_at > now() - %(look_back)s)
            OR (state = 'sending' AND lease_until < now() AND transmitting_at IS NOT NULL)
    ),
    count(*) FILTER (
        WHERE due_at < now() - %(max_wait)s
            AND (state = 'pending' OR (state = 'sending' AND lease_until < now() AND transmitting_at IS NULL))
    ),
    min(due_at) FILTER (WHERE state = 'pending' AND due_at <= now()),
    count(*) FILTER (WHERE state = 'sent' AND sent_at > now() - %(look_back)s)
FROM analytics_outbox
WHERE state IN ('pending', 'sending') OR settled_at > now() - %(look_back)s


-- name: outbox_list
-- The newest rows of the outbox; with a state or a company only theirs; outdated: only of mailed documents that were the
-- last of their recipient and period, and count no more. Of a mailed document: what the one that counts is to it.
SELECT
    CASE
        WHEN o.kind <> 'report' OR o.state NOT IN ('sent', 'unknown', 'sending') THEN NULL
        WHEN o.outbox_id <> analytics_last_mailed(o.recipient_id, o.period) THEN 'replaced'
        ELSE analytics_document_relation(d, c)
    END,
    CASE WHEN d.definitions_version = c.definitions_version
         THEN analytics_changed_figures_list(d.shown_figures, c.shown_figures) ELSE '[]' END,
    o.outbox_id, o.kind, o.channel, o.company_id, o.report, o.period, o.target, o.subject, o.state,
    CASE
        WHEN o.state = 'pending' AND o.attempts = 0 AND o.due_at > now()
            THEN 'waits for the time of day at which its recipient wants it'
        WHEN o.state <> 'pending' OR analytics_outbox_may_leave(o) THEN o.problem
        WHEN o.kind = 'alert' THEN 'waits for an earlier message about the same alert'
        WHEN o.kind = 'failure' THEN 'waits for an earlier message about the same failure'
        WHEN d.held_because IS NOT NULL THEN 'held back: ' || d.held_because
        WHEN NOT d.is_current THEN 'held back: a newer document has not been looked at yet'
        ELSE 'held back: the recipient was removed'
    END AS problem,
    o.created_at, o.attempts, o.next_attempt_at, o.sent_at, o.message_id,
    d.definitions_version, c.definitions_version
FROM analytics_outbox AS o
LEFT JOIN analytics_report_documents AS d ON d.document_id = o.document_id
LEFT JOIN analytics_report_documents AS c
    ON c.report = d.report AND c.audience = d.audience AND c.period = d.period AND c.is_current
WHERE o.outbox_id IN (
    SELECT l.outbox_id
    FROM analytics_outbox AS l
    WHERE (%(state)s::text IS NULL OR l.state = %(state)s)
      AND (%(company)s::text IS NULL OR l.company_id = %(company)s)
      AND (NOT %(outdated)s OR (
          l.kind = 'report'
          AND l.outbox_id = analytics_last_mailed(l.recipient_id, l.period)
          AND NOT EXISTS (
              SELECT FROM analytics_report_documents AS k WHERE k.document_id = l.document_id AND k.is_current
          )
      ))
    ORDER BY l.outbox_id DESC
    LIMIT %(most)s
)
ORDER BY o.outbox_id DESC


-- name: outbox_result
-- Say how sending went. A sender that was thought dead still knows best, until a person has decided.
UPDATE analytics_outbox
SET state = CASE
        WHEN %(outcome)s <> 'pending' THEN %(outcome)s
        WHEN attempts >= %(most_attempts)s THEN 'failed'
        ELSE 'pending'
    END,
    problem = %(problem)s,
    next_attempt_at = now() + analytics_outbox_pause(attempts),
    transmitting_at = CASE WHEN %(outcome)s <> 'pending' THEN transmitting_at END,
    sent_at = CASE WHEN %(outcome)s = 'sent' THEN now() END,
    settled_at = CASE WHEN %(outcome)s <> 'pending' OR attempts >= %(most_attempts)s THEN now() END
WHERE outbox_id = %(id)s AND claimed_by = %(sender)s AND state IN ('sending', 'unknown')
RETURNING state


-- name: outbox_retry
-- A person wants it sent after all: it begins anew, under the same Message-ID.
UPDATE analytics_outbox
SET state = 'pending',
    attempts = 0,
    next_attempt_at = now(),
    claimed_by = NULL,
    transmitting_at = NULL,
    settled_at = NULL,
    problem = NULL
WHERE outbox_id = ANY (%(ids)s) AND state IN ('failed', 'unknown', 'discarded')
RETURNING outbox_id


-- name: outbox_state
SELECT state
FROM analytics_outbox
WHERE outbox_id = %(id)s


-- name: outbox_settle
-- Rows whose sender is dead: its lease has run out. What it may have handed over completely is not sent
-- again by itself; what it certainly has not is due again.
UPDATE analytics_outbox
SET state = CASE
        WHEN transmitting_at IS NOT NULL THEN 'unknown'
        WHEN attempts >= %(most_attempts)s THEN 'failed'
        ELSE 'pending'
    END,
    problem = CASE
        WHEN transmitting_at IS NOT NULL THEN 'the sender died while it handed the message over: it may have arrived'
        ELSE 'the sender died before it handed the message over'
    END,
    settled_at = CASE WHEN transmitting_at IS NOT NULL OR attempts >= %(most_attempts)s THEN now() END,
    next_attempt_at = now()
WHERE state = 'sending' AND lease_until < now() AND (%(kinds)s::text[] IS NULL OR kind = ANY (%(kinds)s))
RETURNING state, problem


-- name: outbox_transmitting
-- From here on the other side may have the message. Changes nothing if the row is no longer this sender's.
UPDATE analytics_outbox
SET transmitting_at = now(), lease_until = now() + %(lease)s
WHERE outbox_id = %(id)s AND claimed_by = %(sender)s
  AND state = 'sending' AND transmitting_at IS NULL AND lease_until > now()


-- name: outbox_undelivered
-- The newest messages of late that were not delivered, or may not have been, with the reason.
SELECT outbox_id, CASE channel WHEN 'mail' THEN '' ELSE channel || ':' END || target, problem
FROM analytics_outbox
WHERE state = %(state)s AND settled_at > now() - %(look_back)s
ORDER BY outbox_id DESC
LIMIT %(most)s


-- name: outbox_waiting
-- How many messages are due and have no channel to go by.
SELECT channel, count(*)
FROM analytics_outbox AS o
WHERE state = 'pending' AND next_attempt_at <= now()
  AND channel <> ALL (%(channels)s::text[])
  AND analytics_outbox_may_leave(o)
GROUP BY channel
ORDER BY channel


-- name: recipient_add
-- Add somebody, or let somebody who was removed have the report again, or say otherwise about corrections, the form or the
-- time of day (null, or not sets_time: as it is; of somebody new: none, the default, in the morning). What waits for the
-- time of day waits for the new one. No row: nothing has changed.
WITH changed AS (
    INSERT INTO analytics_report_recipients AS r (company_id, report, channel, address, corrections_from, format, send_at, at_once)
    VALUES (
        %(company_id)s, %(report)s, %(channel)s, %(address)s, CASE WHEN %(corrections)s::boolean THEN now() END,
        coalesce(%(format)s, %(default_format)s), %(send_at)s::time, %(at_once)s
    )
    ON CONFLICT (report, audience, address_key) DO UPDATE
    SET active = true,
        added_at = CASE WHEN r.active THEN r.added_at ELSE now() END,
        corrections_from = CASE
            WHEN r.active AND %(corrections)s::boolean IS NULL THEN r.corrections_from
            WHEN r.active AND %(corrections)s::boolean THEN coalesce(r.corrections_from, excluded.corrections_from)
            ELSE excluded.corrections_from
        END,
        format = CASE WHEN r.active AND %(format)s::text IS NULL THEN r.format ELSE excluded.format END,
        send_at = CASE WHEN r.active AND NOT %(sets_time)s THEN r.send_at ELSE excluded.send_at END,
        at_once = CASE WHEN r.active AND NOT %(sets_time)s THEN r.at_once ELSE excluded.at_once END
    WHERE NOT r.active
        OR (r.corrections_from IS NOT NULL) <> %(corrections)s::boolean
        OR r.format <> %(format)s::text
        OR (%(sets_time)s AND (r.send_at IS DISTINCT FROM %(send_at)s::time OR r.at_once <> %(at_once)s))
    RETURNING r.*
),
moved AS (
    UPDATE analytics_outbox AS o
    SET due_at = w.due_at, next_attempt_at = w.due_at
    FROM changed, analytics_report_documents AS d, LATERAL (
        SELECT analytics_report_due(changed::analytics_report_recipients, d.period_end, now(), %(zone)s) AS due_at
    ) AS w
    WHERE o.recipient_id = changed.recipient_id AND o.state = 'pending' AND o.due_at > now()
      AND d.document_id = o.document_id
)
SELECT recipient_id FROM changed


-- name: recipient_remove
-- Somebody gets the report, or everywhere any report, no more, what has not left yet included. The row stays for the mails
-- that name it.
WITH removed AS (
    UPDATE analytics_report_recipients
    SET active = false
    WHERE (%(everywhere)s OR (report = %(report)s AND company_id IS NOT DISTINCT FROM %(company_id)s::text))
      AND address_key = %(address_key)s
      AND active
    RETURNING recipient_id
),
taken_back AS (
    DELETE FROM analytics_outbox AS o
    USING removed
    WHERE o.recipient_id = removed.recipient_id AND o.state = 'pending'
    RETURNING o.outbox_id
)
SELECT (SELECT count(*) FROM removed), (SELECT count(*) FROM taken_back)


-- name: recipients
-- Who gets which report, of one company, of the whole platform, or of all of them; and why the last mail to somebody was
-- not delivered, or may not have been (null: it was, or there was none yet).
SELECT r.company_id, r.report, r.channel, r.address, r.added_at, r.corrections_from IS NOT NULL, r.format, r.send_at, r.at_once, m.problem
FROM analytics_report_recipients AS r
LEFT JOIN LATERAL (
    SELECT CASE WHEN o.state IN ('failed', 'unknown') THEN o.problem END AS problem
    FROM analytics_outbox AS o
    WHERE o.recipient_id = r.recipient_id AND o.state IN ('sent', 'failed', 'unknown')
    ORDER BY o.settled_at DESC NULLS LAST, o.outbox_id DESC
    LIMIT 1
) AS m ON true
WHERE r.active
  AND (%(everywhere)s OR r.company_id IS NOT DISTINCT FROM %(company_id)s::text)
  AND (%(report)s::text IS NULL OR r.report = %(report)s)
ORDER BY r.report, r.company_id NULLS FIRST, r.address_key


-- name: report_outdated
-- Documents that recipients were mailed last of a period and that no longer equal the one that counts, which may be none.
SELECT
    analytics_document_relation(e, c),
    CASE WHEN e.definitions_version = c.definitions_version
         THEN analytics_changed_figures_list(e.shown_figures, c.shown_figures) ELSE '[]' END,
    m.report, m.company_id, m.period, m.addresses, e.definitions_version, c.definitions_version, c.held_because,
    c.rendered_at
FROM (
    SELECT o.document_id, o.report, o.company_id, o.audience, o.period,
           array_agg(analytics_shown_address(r) ORDER BY r.address_key) AS addresses
    FROM (
        SELECT DISTINCT s.recipient_id, s.period
        FROM analytics_outbox AS s
        WHERE s.kind = 'report' AND s.state IN ('sent', 'unknown', 'sending')
    ) AS mailed
    JOIN analytics_outbox AS o ON o.outbox_id = analytics_last_mailed(mailed.recipient_id, mailed.period)
    JOIN analytics_report_recipients AS r ON r.recipient_id = o.recipient_id AND r.active
    GROUP BY o.document_id, o.report, o.company_id, o.audience, o.period
) AS m
JOIN analytics_report_documents AS e ON e.document_id = m.document_id
LEFT JOIN analytics_report_documents AS c
    ON c.report = m.report AND c.audience = m.audience AND c.period = m.period AND c.is_current
WHERE c.document_id IS DISTINCT FROM e.document_id
  AND (%(report)s::text IS NULL OR m.report = %(report)s)
  AND (%(period)s::text IS NULL OR m.period = %(period)s)
  AND (NOT %(of_one)s OR m.company_id IS NOT DISTINCT FROM %(company_id)s::text)
ORDER BY m.period DESC, m.report, m.audience, e.document_id
