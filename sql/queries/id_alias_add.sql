-- Former names of what is renamed now bear the new name, too; nothing is a former name of itself.
WITH renamed AS (
    UPDATE analytics_id_aliases SET present = %(present)s
    WHERE present = coalesce(%(user)s, %(company)s)
      AND (CASE WHEN %(user)s::text IS NULL THEN former_user_id IS NULL
                ELSE former_user_id IS NOT NULL AND company_id = %(company)s END)
)
INSERT INTO analytics_id_aliases (company_id, former_user_id, present)
VALUES (%(company)s, %(user)s, %(present)s)
ON CONFLICT (company_id, former_user_id) DO UPDATE SET present = excluded.present
