"""What must hold of server, schema, policies and data: each check once, for Dagster and for ``doctor``.

Belongs here: judging, over a connection and the settings. Does not belong here: mending anything,
Dagster's own records (``orchestration.checks``), and how findings are shown.
"""
