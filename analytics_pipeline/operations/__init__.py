"""Operating the database: how it stands, for people and for monitoring."""
