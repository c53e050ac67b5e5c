-- Ids of companies and users that were stored before ids had one form: which they are, and renaming what keeps them
-- beside the events. Events are renamed day by day (analytics_pipeline/events/rename.py).

-- p_unseen is a character class of what no id may hold; most ids are plain and need no closer look.
CREATE OR REPLACE FUNCTION analytics_is_id(p_id text, p_unseen text)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT p_id ~ '^[ -~]+$' OR (p_id !~ p_unseen AND p_id IS NFC NORMALIZED)
$$;

COMMENT ON FUNCTION analytics_is_id IS
    'Whether an id has the form in which ids are stored: Unicode''s normal form C, without characters of p_unseen.';

-- The events bear the new name by now: where two users become one, the return from a deletion of the one may be an
-- event of the other. Deleted and put in anew: what counts users by day can't follow an upsert.
CREATE OR REPLACE FUNCTION analytics_rename_deletions(
    p_former_company text, p_former_user text, p_company text, p_user text
)
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    CREATE TEMP TABLE renamed_deletions ON COMMIT DROP AS
    SELECT coalesce(p_user, d.user_id) AS user_id, d.deleted_at, min(d.returned_at) AS returned_at
    FROM analytics_user_deletions AS d
    WHERE (d.company_id = p_former_company AND d.user_id = coalesce(p_former_user, d.user_id))
       OR (d.company_id = p_company AND d.user_id = coalesce(p_user, d.user_id))
    GROUP BY 1, 2;

    UPDATE renamed_deletions AS d
    SET returned_at = least(d.returned_at, (
        SELECT min(e."timestamp")
        FROM analytics_events AS e
        WHERE e.company_id = p_company AND e.user_id = d.user_id AND e."timestamp" > d.deleted_at
          AND e.event_type <> 'user.deleted'
    ));

    DELETE FROM analytics_user_deletions AS d
    WHERE (d.company_id = p_former_company AND d.user_id = coalesce(p_former_user, d.user_id))
       OR (d.company_id = p_company AND d.user_id = coalesce(p_user, d.user_id));
    INSERT INTO analytics_user_deletions (company_id, user_id, deleted_at, returned_at)
    SELECT p_company, d.user_id, d.deleted_at, d.returned_at FROM renamed_deletions AS d;
    DROP TABLE renamed_deletions;
END
$$;

COMMENT ON FUNCTION analytics_rename_deletions IS
    'Gives the deletions of a company''s users, or of one user, another name, with the returns that their events show.';

CREATE OR REPLACE FUNCTION analytics_rename_company(p_former text, p_present text)
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM analytics_lock_changes(false);

    INSERT INTO analytics_users AS known (company_id, user_id, first_seen)
    SELECT p_present, u.user_id, u.first_seen FROM analytics_users AS u WHERE u.company_id = p_former
    ON CONFLICT (company_id, user_id) DO UPDATE SET first_seen = least(known.first_seen, excluded.first_seen);
    DELETE FROM analytics_users WHERE company_id = p_former;

    PERFORM analytics_rename_deletions(p_former, NULL, p_present, NULL);

    -- Of a subscription that both names have, the changes are taken in again from the events.
    UPDATE analytics_subscriptions AS s SET company_id = p_present
    WHERE s.company_id = p_former AND NOT EXISTS (
        SELECT FROM analytics_subscriptions AS o
        WHERE o.company_id = p_present AND o.subscription_id = s.subscription_id
    );

    INSERT INTO analytics_company_grants (role_name, company_id, role_oid)
    SELECT g.role_name, p_present, g.role_oid FROM analytics_company_grants AS g WHERE g.company_id = p_former
    ON CONFLICT (role_name, company_id) DO UPDATE SET role_oid = excluded.role_oid
    WHERE excluded.role_oid = to_regrole(quote_ident(excluded.role_name));
    DELETE FROM analytics_company_grants WHERE company_id = p_former;

    -- What is known of a company that bears the present name already counts.
    INSERT INTO analytics_companies (company_id, name, time_zone, currency, locale, is_test, by_hand)
    SELECT p_present, c.name, c.time_zone, c.currency, c.locale, c.is_test, c.by_hand
    FROM analytics_companies AS c WHERE c.company_id = p_former
    ON CONFLICT (company_id) DO NOTHING;
    DELETE FROM analytics_companies WHERE company_id = p_former;

    -- Mails that were sent name the recipient's row, which stays; those that wait are put in anew by the new name.
    DELETE FROM analytics_outbox AS o
    USING analytics_report_recipients AS r
    WHERE r.company_id = p_former AND o.recipient_id = r.recipient_id AND o.state = 'pending';
    INSERT INTO analytics_report_recipients (
        company_id, report, channel, address, corrections_from, send_at, at_once, format
    )
    SELECT p_present, r.report, r.channel, r.address, r.corrections_from, r.send_at, r.at_once, r.format
    FROM analytics_report_recipients AS r WHERE r.company_id = p_former AND r.active
    ON CONFLICT (report, audience, address_key) DO UPDATE SET active = true;
    UPDATE analytics_report_recipients SET active = false WHERE company_id = p_former;
    UPDATE analytics_report_requests SET company_id = p_present WHERE company_id = p_former AND state = 'requested';

    -- As its figures do: those of expired events keep the former name. Where both have signed a month, each stays.
    UPDATE analytics_signoffs AS s SET company_id = p_present
    WHERE s.company_id = p_former AND s.period_start >= coalesce(analytics_events_from(), '-infinity')
      AND (s.withdrawn_at IS NOT NULL OR NOT EXISTS (
          SELECT FROM analytics_signoffs AS o
          WHERE o.company_id = p_present AND o.period = s.period AND o.withdrawn_at IS NULL
      ));

    UPDATE analytics_event_conflicts SET
        company_id = p_present,
        stored = jsonb_set(stored, '{company_id}', to_jsonb(p_present)),
        sent = jsonb_set(sent, '{company_id}', to_jsonb(p_present))
    WHERE company_id = p_former;

    UPDATE analytics_id_aliases SET company_id = p_present WHERE company_id = p_former AND former_user_id IS NOT NULL;

    INSERT INTO analytics_metric_changes (company_id, changed_from, cause)
    SELECT company, '1970-01-01 00:00:00+00', 'a company that was renamed'
    FROM unnest(ARRAY[p_former, p_present]) AS company;
END
$$;

COMMENT ON FUNCTION analytics_rename_company IS
    'Gives all that is kept of a company beside its events another name, into a company of that name if there is one.';

CREATE OR REPLACE FUNCTION analytics_rename_user(p_company text, p_former text, p_present text)
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM analytics_lock_changes(false);

    INSERT INTO analytics_users AS known (company_id, user_id, first_seen)
    SELECT p_company, p_present, u.first_seen
    FROM analytics_users AS u WHERE u.company_id = p_company AND u.user_id = p_former
    ON CONFLICT (company_id, user_id) DO UPDATE SET first_seen = least(known.first_seen, excluded.first_seen);
    DELETE FROM analytics_users WHERE company_id = p_company AND user_id = p_former;

    PERFORM analytics_rename_deletions(p_company, p_former, p_company, p_present);

    UPDATE analytics_subscriptions SET
        user_id = CASE user_id WHEN p_former THEN p_present ELSE user_id END,
        event_user_id = CASE event_user_id WHEN p_former THEN p_present ELSE event_user_id END
    WHERE company_id = p_company AND p_former IN (user_id, event_user_id);

    UPDATE analytics_event_conflicts SET
        stored = CASE stored ->> 'user_id' WHEN p_former
            THEN jsonb_set(stored, '{user_id}', to_jsonb(p_present)) ELSE stored END,
        sent = CASE sent ->> 'user_id' WHEN p_former
            THEN jsonb_set(sent, '{user_id}', to_jsonb(p_present)) ELSE sent END
    WHERE company_id = p_company AND p_former IN (stored ->> 'user_id', sent ->> 'user_id');

    INSERT INTO analytics_metric_changes (company_id, changed_from, cause)
    VALUES (p_company, '1970-01-01 00:00:00+00', 'a user that was renamed');
END
$$;

COMMENT ON FUNCTION analytics_rename_user IS
    'Gives all that is kept of a company''s user beside its events another name, into a user of that name if there is one.';
