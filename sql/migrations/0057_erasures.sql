-- Persons and companies that were erased: that it was done, without the ids, and by what they are recognised where
-- records, the rows of an ERP above all, still name them.

-- Drawn once, by the first erasure.
CREATE TABLE IF NOT EXISTS analytics_erasure_key (
    is_the_one boolean PRIMARY KEY DEFAULT true CHECK (is_the_one),
    key        bytea   NOT NULL CHECK (length(key) = 32)
);

COMMENT ON TABLE analytics_erasure_key IS
    'The key of the digests by which erased ids are recognised (docs/privacy.md).';

CREATE TABLE IF NOT EXISTS analytics_erasures (
    erasure_id  bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind        text        NOT NULL CHECK (kind IN ('person', 'company')),
    -- Random. What stands where the id stood.
    pseudonym   text        NOT NULL UNIQUE,
    begun_at    timestamptz NOT NULL DEFAULT now(),
    -- NULL: it was interrupted, and the same command goes on.
    finished_at timestamptz,
    -- How much was changed or removed, by place.
    places      jsonb       NOT NULL DEFAULT '{}'
);

COMMENT ON TABLE analytics_erasures IS
    'Erasures of persons and companies, without their ids (docs/privacy.md).';

-- A person has several ids where one was renamed.
CREATE TABLE IF NOT EXISTS analytics_erased_ids (
    -- HMAC-SHA256 of the JSON array of company and user, or of the company alone.
    digest      bytea   PRIMARY KEY CHECK (length(digest) = 32),
    erasure_id  bigint  NOT NULL REFERENCES analytics_erasures,
    -- What took the place of the id where it was stored, and what records that name it are recorded under from now on.
    stored_as   text    NOT NULL,
    recorded_as text    NOT NULL,
    -- Whether the id is told from ordinary words and numbers, so that it is looked for within texts.
    in_texts    boolean NOT NULL
);

COMMENT ON TABLE analytics_erased_ids IS
    'Erased ids by a keyed digest, so that records which still name them bear the pseudonym; of companies, are refused.';

ALTER TABLE analytics_report_documents ADD COLUMN IF NOT EXISTS erased_at timestamptz;

COMMENT ON COLUMN analytics_report_documents.erased_at IS
    'When the document was made again, or removed, because it named what was erased; null: it is as it was published.';

-- An address or a checksum that changes in two tables at once is compared at the end of the transaction.
DO $$
DECLARE
    reference record;
BEGIN
    FOR reference IN
        SELECT k.conname, k.conrelid::regclass AS relation
        FROM pg_constraint AS k
        WHERE k.contype = 'f' AND NOT k.condeferrable
          AND k.conrelid IN ('analytics_outbox'::regclass, 'analytics_signoffs'::regclass, 'analytics_alerts'::regclass)
    LOOP
        EXECUTE format('ALTER TABLE %s ALTER CONSTRAINT %I DEFERRABLE INITIALLY IMMEDIATE', reference.relation, reference.conname);
    END LOOP;
END
$$;
