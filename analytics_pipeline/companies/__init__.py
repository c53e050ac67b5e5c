"""Companies, the tenants: which ones are known.

Belongs here: what is said of a company as a whole. Does not belong here: its figures (``metrics``), its events.
"""
