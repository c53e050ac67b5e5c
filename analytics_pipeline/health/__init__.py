"""What must hold of server, schema, policies and data: each check once, for Dagster and for ``doctor``.

Belongs here: judging, over a connection and the settings. Does not belong here: fixing anything,
Dagster's own records (``orchestration.closing``), and how results are shown.
"""
