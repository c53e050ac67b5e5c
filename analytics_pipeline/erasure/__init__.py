"""The right to be forgotten: a person's ids and metadata become a pseudonym, or a company is removed, everywhere.

Each place (``place``) counts, erases and searches; ``erase`` goes through all of them. Belongs here: what knows where
ids are kept. What recognises erased ids in records that come in later is ``events.erased``.
"""
