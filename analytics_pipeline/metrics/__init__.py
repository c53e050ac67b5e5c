"""Revenue and user figures: typed calls of the SQL functions that define them, the tables that keep them, answers.

Belongs here: asking for figures, closing their tables, what is closed (``partitions``), who may read which company.
Does not belong here: what a figure means (``sql/functions``, ``docs/DEFINITIONS.md``), deciding what is closed next
(``orchestration.closing``), judging what is stored (``health``).
"""
