/**
 * The embedded TimescaleDB server: one engine, one data directory, any number of clients.
 *
 * Started by `analytics_pipeline.embedded`, which holds the lock of the data directory and hands it
 * over as an open file: the lock lives exactly as long as this process. The configuration comes as
 * JSON on the command line; what the server is doing is kept in the state file.
 */

import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';

import { Arbiter } from './arbiter.mjs';
import { Client } from './client.mjs';
import { Engine, EngineError } from './engine.mjs';
import { JobRunner } from './jobs.mjs';
import { Sessions } from './sessions.mjs';
import { StateFile } from './state.mjs';
import { errorResponse } from './wire.mjs';

const MAX_CLIENTS = 200;
/** The engine has no background writer: its write-ahead log is cut back here. */
const CHECKPOINT_EVERY_BYTES = 64 * 1024 * 1024;

const config = JSON.parse(process.argv[2]);
const log = (line) => process.stdout.write(`${new Date().toISOString()} ${line}\n`);

process.umask(0o077);
const state = new StateFile(config.stateFile, {
  pid: process.pid,
  state: 'starting',
  since: new Date().toISOString(),
  socket_dir: config.socketDir,
  tcp_port: config.tcpPort,
});

const clients = new Set();
const listeners = [];
let ending = false;

/** Ends the process; `status` shows why. */
function fail(reason, detail = '') {
  if (ending === 'failed') return;
  ending = 'failed';
  log(`FAILED: ${reason}\n${detail}`);
  state.writeNow({ state: 'failed', last_error: reason });
  const last = errorResponse(
    'FATAL',
    '57P02',
    `the embedded TimescaleDB has failed: ${reason}`,
    'Start it again with `analytics-pipeline db start`; everything committed is kept.',
  );
  for (const client of clients) client.end(last);
  for (const listener of listeners) listener.close();
  setTimeout(() => process.exit(1), 100);
}

process.on('uncaughtException', (error) => fail(error.message, error.stack));
process.on('unhandledRejection', (error) => fail(error?.message ?? String(error), error?.stack));

const engine = new Engine({
  packageDir: config.packageDir,
  dataDir: config.dataDir,
  durable: config.durable,
  onFatal: (reason, detail) => fail(reason, detail),
  onLog: (line) => log(`engine: ${line}`),
});
await engine.ready();

const sessions = new Sessions(engine);
const arbiter = new Arbiter(engine, sessions, config);
const jobs = new JobRunner(engine, arbiter, log);

/** What a client is told at its start, and rules its libraries: psycopg reads TimeZone from here. */
const parameters = new Map([
  ['server_version', engine.versions.postgres],
  ['server_encoding', engine.versions.encoding],
  ['client_encoding', 'UTF8'],
  ['application_name', ''],
  ['default_transaction_read_only', 'off'],
  ['in_hot_standby', 'off'],
  ['is_superuser', 'on'],
  ['session_authorization', 'postgres'],
  ['DateStyle', 'ISO, MDY'],
  ['IntervalStyle', 'postgres'],
  ['TimeZone', 'UTC'],
  ['integer_datetimes', engine.versions.integers],
  ['standard_conforming_strings', 'on'],
  // Where a client that waits for its turn reads who has it.
  ['analytics_state_file', config.stateFile],
]);

let pid = 0;
function accept(socket, password) {
  if (ending) {
    socket.destroy();
    return;
  }
  const client = new Client(socket, {
    arbiter,
    parameters,
    password,
    stallSeconds: config.idleInTransactionSeconds,
    nextPid: () => (pid += 1),
    cancel: (of, secret) => [...clients].find((one) => one.pid === of)?.cancel(secret),
    full: () => clients.size > MAX_CLIENTS,
    onEnd: (ended) => clients.delete(ended),
  });
  clients.add(client);
}

function listen(options, password) {
  const listener = net.createServer((socket) => accept(socket, password));
  listeners.push(listener);
  return new Promise((resolve, reject) => {
    listener.once('error', reject);
    listener.listen(options, resolve);
  });
}

const socketPath = path.join(config.socketDir, '.s.PGSQL.5432');
// Whoever holds the lock owns the socket: one that is there is a dead server's.
fs.rmSync(socketPath, { force: true });
try {
  await listen({ path: socketPath }, null);
  if (config.tcpPort !== null) {
    await listen({ host: '127.0.0.1', port: config.tcpPort }, fs.readFileSync(config.passwordFile, 'utf8').trim());
  }
} catch (error) {
  fail(
    error.code === 'EADDRINUSE' && error.port
      ? `port ${error.port} on 127.0.0.1 is taken by another program: stop it or choose another port`
      : `can't listen: ${error.message}`,
  );
}

let checkpointAt = null;
async function checkpointIfDue() {
  await arbiter.task('a checkpoint', async () => {
    const [[[position]]] = await engine.query("SELECT pg_current_wal_lsn() - '0/0'");
    checkpointAt ??= Number(position);
    if (Number(position) - checkpointAt < CHECKPOINT_EVERY_BYTES) return;
    await engine.query('CHECKPOINT');
    checkpointAt = Number(position);
  });
}

async function housekeeping() {
  await jobs.scan();
  try {
    await checkpointIfDue();
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    jobs.error ??= `writing a checkpoint failed: ${error.message}`;
  }
  refreshState();
}

function refreshState() {
  state.update({
    clients: clients.size,
    waiting: arbiter.waiting,
    holder: arbiter.holder,
    busy_since: arbiter.busySince && new Date(arbiter.busySince).toISOString(),
    job_scans: jobs.scans,
    last_error: jobs.error,
  });
}

async function stop(signal) {
  if (ending) return;
  ending = 'stopping';
  log(`${signal}: stopping`);
  for (const listener of listeners) listener.close();
  await arbiter.close();
  const last = errorResponse('FATAL', '57P01', 'the embedded TimescaleDB is being stopped');
  for (const client of clients) client.end(last);
  await engine.stop();
  fs.rmSync(socketPath, { force: true });
  state.writeNow({ state: 'stopped', clients: 0 });
  log('stopped');
  process.exit(0);
}

if (!ending) {
  process.on('SIGTERM', () => void stop('SIGTERM'));
  process.on('SIGINT', () => void stop('SIGINT'));
  process.on('SIGHUP', () => {});
  process.on('SIGUSR2', () => void housekeeping());
  state.writeNow({
    state: 'running',
    postgres_version: engine.versions.postgres,
    timescaledb_version: engine.versions.timescaledb,
    clients: 0,
    job_scans: 0,
  });
  log(`PostgreSQL ${engine.versions.postgres}, TimescaleDB ${engine.versions.timescaledb}, listening in ${config.socketDir}`);
  setInterval(() => void housekeeping(), config.jobIntervalSeconds * 1000);
  setInterval(refreshState, 1000);
}
