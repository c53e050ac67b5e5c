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
