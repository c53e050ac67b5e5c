"""Report data to documents: rendering, and the store that keeps them; never a database, never dagster."""
