-- A refresh takes what it settles out of TimescaleDB's invalidation log, which is also what says that users and
-- subscriptions have to read a day again: it leaves that word here for them.
ALTER TABLE analytics_closed_windows ADD COLUMN IF NOT EXISTS changed tstzmultirange NOT NULL DEFAULT '{}';

COMMENT ON COLUMN analytics_closed_windows.changed IS
    'Of that event time, what has changed since: days to be taken in again, which no invalidation log names any more.';

-- Amounts without a rate are judged for an asset's newest closed periods, and where a document needs it for its own
-- days: what runs found over their windows is replaced by nothing any more.
DELETE FROM analytics_check_results WHERE check_name = 'amounts_converted';
