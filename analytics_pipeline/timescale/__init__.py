"""TimescaleDB: connection, migrations, aggregates, policies, refresh, proof."""
