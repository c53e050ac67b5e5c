"""Analytics of a multi-tenant crypto-ERP, kept correct by Dagster on TimescaleDB."""
