"""Aggregates computed from the archive of events by other engines: DuckDB on one machine, Spark on many.

Belongs here: what turns a declaration into the SQL of another engine, and runs it over Parquet files. Does not belong
here: the archive itself (``archive``), or a database.
"""
