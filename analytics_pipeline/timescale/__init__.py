"""TimescaleDB: connection, migrations, aggregates, policies, refresh, proof.

Belongs here: what is asked of a TimescaleDB through a connection. Does not belong here: which database that is
(``database``), settings, figures (``metrics``).
"""
