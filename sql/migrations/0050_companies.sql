-- What is known of a company beside its events. Null: as the platform has it.
CREATE TABLE IF NOT EXISTS analytics_companies (
    company_id text        PRIMARY KEY CHECK (company_id <> ''),
    name       text        CHECK (name <> ''),
    time_zone  text,
    currency   text,
    locale     text,
    is_test    boolean     NOT NULL DEFAULT false,
    changed_at timestamptz NOT NULL DEFAULT now()
);

COMMENT ON TABLE analytics_companies IS
    'Name, time zone (IANA), reporting currency and locale of a company, each null where the platform''s counts; test companies are left out of figures over all.';
