"""Reports: what one reads of the database, how it becomes documents, and which documents count.

Belongs here: the order of a report, its sections (``sections``: each its query, its tables, its chart), forms of
documents, publishing, corrections, requests, and what the mail that brings one says. Does not belong here: what a
figure means (``sql/functions``), keeping files (``store``), sending (``messages``), when one is made
(``orchestration``).
"""
