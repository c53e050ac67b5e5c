INSERT INTO analytics_api_tokens (token_id, token_hash, label, company_id, scopes, expires_at)
VALUES (%(token_id)s, %(hash)s, %(label)s, %(company_id)s, %(scopes)s, now() + %(valid_for)s)
