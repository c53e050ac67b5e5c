-- The locale that a document is written in: a mail that brings it is in the same words and notation. Those before are in
-- the one that every document had.
ALTER TABLE analytics_report_documents ADD COLUMN IF NOT EXISTS locale text NOT NULL DEFAULT 'en_GB';
