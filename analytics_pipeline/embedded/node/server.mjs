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
import { Engine, EngineCrash, EngineError } from './engine.mjs';
import { JobRunner } from './jobs.mjs';
import { Places } from './places.mjs';
import { ScramVerifier } from './scram.mjs';
import { Sessions } from './sessions.mjs';
import { StateFile } from './state.mjs';
import { errorResponse } from './wire.mjs';

/** The engine has no background writer: its write-ahead log is cut back here. */
const CHECKPOINT_EVERY_BYTES = 64 * 1024 * 1024;

const config = JSON.parse(process.argv[2]);
const log = (line) => process.stdout.write(`${new Date().toISOString()} ${line}\n`);

// Where the disk is full there is no log.
process.stdout.on('error', () => {});
process.umask(0o077);

const places = new Places(config.loginSeconds);
const listeners = [];
let state = null;
let ending = false;

/** Ends the process; whoever has started it and `status` show why. */
function fail(reason, detail = '') {
  if (ending === 'failed') return;
  ending = 'failed';
  log(`FAILED: ${reason}\n${detail}`);
  state?.update({ state: 'failed', last_error: reason });
  try {
    fs.writeSync(config.reasonPipe, reason);
  } catch {
    // Its reader has gone: the server was up long ago.
  }
  const last = errorResponse(
    'FATAL',
    '57P02',
    `the embedded TimescaleDB has failed: ${reason}`,
    'Start it again with `analytics-pipeline db start`; everything committed is kept.',
  );
  for (const client of places.all()) client.end(last);
  for (const listener of listeners) listener.close();
  setTimeout(() => process.exit(1), 100);
}

process.on('uncaughtException', (error) => fail(error.message, error.stack));
process.on('unhandledRejection', (error) => fail(error?.message ?? String(error), error?.stack));

state = new StateFile(config.stateFile, {
  pid: process.pid,
  state: 'starting',
  since: new Date().toISOString(),
  socket_dir: config.socketDir,
  tcp_port: config.tcpPort,
});
const engine = new Engine({
  packageDir: config.packageDir,
  dataDir: config.dataDir,
  durable: config.durable,
  startSeconds: config.startSeconds,
  onLog: (line) => log(`engine: ${line}`),
});
const sessions = new Sessions(engine);
const arbiter = new Arbiter(engine, sessions, { ...config, log, onFatal: fail });
const jobs = new JobRunner(engine, arbiter, log);
try {
  await engine.start({ create: true });
  await sessions.renew();
} catch (error) {
  fail(error.message, error.detail ?? error.stack);
  // Nothing else is to be done, and nothing below.
  await new Promise(() => {});
}

/** What a client gets at its start, and its libraries go by: psycopg reads TimeZone from here. */
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
const serverOfClients = {
  arbiter,
  places,
  log,
  parameters,
  stallSeconds: config.idleInTransactionSeconds,
  nextPid: () => (pid += 1),
};

/** @param {import('node:net').Socket} socket @param {ScramVerifier | null} verifier */
function accept(socket, verifier) {
  if (ending) socket.destroy();
  else places.arrive(new Client(socket, serverOfClients, verifier));
}

/** @param {import('node:net').ListenOptions} options @param {ScramVerifier | null} verifier */
function listen(options, verifier) {
  const listener = net.createServer((socket) => accept(socket, verifier));
  listeners.push(listener);
  return new Promise((resolve, reject) => {
    listener.on('error', (error) => {
      log(`a client could not be taken: ${error.message}`);
      reject(error);
    });
    listener.listen(options, resolve);
  });
}

const socketPath = path.join(config.socketDir, '.s.PGSQL.5432');
// Whoever holds the lock owns the socket: one that is there is a dead server's.
fs.rmSync(socketPath, { force: true });
try {
  await listen({ path: socketPath }, null);
  if (config.tcpPort !== null) {
    const password = fs.readFileSync(config.passwordFile, 'utf8').trim();
    await listen({ host: '127.0.0.1', port: config.tcpPort }, new ScramVerifier(password));
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
    if (!(error instanceof EngineError || error instanceof EngineCrash)) throw error;
    jobs.error ??= `writing a checkpoint failed: ${error.message}`;
  }
  refreshState();
}

function refreshState() {
  // Why it has failed is the last that it says.
  if (ending === 'failed') return;
  state.update({
    clients: places.count,
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
  for (const client of places.all()) client.end(last);
  try {
    await engine.stop();
  } catch (error) {
    log(`the engine has failed: ${error.message}; everything committed is kept`);
  }
  fs.rmSync(socketPath, { force: true });
  state.update({ state: 'stopped', clients: 0 });
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
  setInterval(() => {
    refreshState();
    arbiter.reportWaits();
  }, 1000);
}
