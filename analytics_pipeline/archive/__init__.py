"""Events beyond retention, kept in a Delta table: written, read back and proved before the database drops them.

Belongs here: what the table looks like, how chunks get into it and come back, what is recorded as proved. Does not
belong here: commands, when Dagster does it (``orchestration``), and that a database has an archive at all, which
policies and the retention horizon go by (``timescale.expiry``).
"""
