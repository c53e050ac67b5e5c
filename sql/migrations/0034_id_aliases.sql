-- Former names of companies and users that were renamed: records that still bear one are read as bearing the present
-- name, so that a file that was taken before changes nothing when it is taken again.
CREATE TABLE IF NOT EXISTS analytics_id_aliases (
    -- Of a company: its former name. Of a user: the present name of the company.
    company_id     text        NOT NULL,
    -- NULL: the row is about the company itself.
    former_user_id text,
    present        text        NOT NULL,
    renamed_at     timestamptz NOT NULL DEFAULT now(),
    UNIQUE NULLS NOT DISTINCT (company_id, former_user_id),
    CHECK (present <> coalesce(former_user_id, company_id))
);

COMMENT ON TABLE analytics_id_aliases IS
    'Former names of companies (former_user_id null) and of users of a company, and the names they bear now.';
