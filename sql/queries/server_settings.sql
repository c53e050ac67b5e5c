-- Settings of the server that matter for this load, sizes in bytes, with the size of the database. The
-- server is local when it is reached over a Unix socket or from the address it listens on.
SELECT
    version() LIKE '%emcc%' AS embedded,
    coalesce(inet_client_addr() = inet_server_addr() OR inet_server_addr() <<= '127.0.0.0/8', true) AS local,
    current_database()::text AS database,
    pg_size_bytes(current_setting('shared_buffers')) AS shared_buffers,
    pg_size_bytes(current_setting('effective_cache_size')) AS effective_cache_size,
    pg_size_bytes(current_setting('work_mem')) AS work_mem,
    pg_size_bytes(current_setting('maintenance_work_mem')) AS maintenance_work_mem,
    current_setting('max_connections')::integer AS max_connections,
    current_setting('max_prepared_transactions')::integer AS max_prepared_transactions,
    current_setting('max_locks_per_transaction')::integer AS max_locks_per_transaction,
    current_setting('jit')::boolean AS jit,
    (SELECT count(*)::integer FROM timescaledb_information.chunks) AS chunks,
    pg_database_size(current_database()) AS database_bytes
