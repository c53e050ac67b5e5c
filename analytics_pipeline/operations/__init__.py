"""Operating the databases over years: how they stand, backups, and bringing them back.

Belongs here: what is measured for people and monitoring; what a backup holds, how it is written, checked, restored, and
how long it is kept. Does not belong here: commands, and when Dagster does it (``orchestration``).
"""
