/**
 * The database engine, alone in its thread: a long statement never keeps the server from
 * accepting clients, and a crash of the engine never takes the server with it.
 *
 * What a client is, this thread does not know.
 */

import fs from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { parentPort, workerData } from 'node:worker_threads';

import { message, cstring, query, errorFields, dataRow } from './wire.mjs';

/** Output is handed over in pieces of this size... */
const PIECE_BYTES = 256 * 1024;
/** ...and the engine waits while more than this is on its way to a slow client. */
const WINDOW_BYTES = 8 * 1024 * 1024;

/**
 * The build's stack holds 64 KiB and ends on the engine's own variables, and the engine does not know where it begins,
 * so that max_stack_depth does nothing: what recurses overwrites memory. It gets one with room for the 2 MB that
 * max_stack_depth allows, and for what goes deeper unasked.
 */
const STACK_BYTES = 32 * 1024 * 1024;
/** Where this build has `stack_base_ptr` and `max_stack_depth_bytes` (check_stack_depth() reads both), as it starts. */
const STACK_BASE = { address: 2540524, initially: 0 };
const STACK_DEPTH = { address: 2373268, initially: 100 * 1024 };

/** A disk with less is full: the engine can't write its next log segment. */
const WAL_SEGMENT_BYTES = 16 * 1024 * 1024;

/** Context and source of SetConfigOption (guc.h). */
const PGC_SIGHUP = 2;
const PGC_S_CLIENT = 9;

/**
 * What a native server has by default and this build has not: it starts with
 * client_min_messages = debug3 and enable_seqscan = off. Set as a session's start values,
 * so that RESET leads back to them. Of the ways to sync only fsync is not a stub.
 */
const BASELINE = {
  client_min_messages: 'notice',
  log_min_messages: 'warning',
  enable_seqscan: 'on',
  search_path: '"$user", public',
  TimeZone: 'UTC',
  wal_sync_method: 'fsync',
};

const inFlight = new Int32Array(workerData.inFlight);
const logTail = [];

function onEngineLog(line) {
  logTail.push(line);
  if (logTail.length > 30) logTail.shift();
  if (/\b(WARNING|FATAL|PANIC):/.test(line) && !starting) parentPort.postMessage({ kind: 'log', line });
}

/** What is committed reaches the disk before it is acknowledged: the engine's file system leaves fsync out. */
function makeDurable(module) {
  const { NODEFS } = module.FS.filesystems;
  NODEFS.stream_ops.fsync = (stream) => {
    if (stream.nfd !== undefined) fs.fdatasyncSync(stream.nfd);
    else {
      const folder = fs.openSync(NODEFS.realPath(stream.node), 'r');
      fs.fsyncSync(folder);
      fs.closeSync(folder);
    }
    return 0;
  };
}

/** Before anything runs on the stack. */
function moveStack() {
  for (const { address, initially } of [STACK_BASE, STACK_DEPTH]) {
    if (mod.HEAP32[address >> 2] !== initially) throw new Error('this build of the engine is not the one it should be');
  }
  const bottom = mod._malloc(STACK_BYTES);
  if (!bottom) throw new Error('no memory for the stack of the engine');
  const top = (bottom + STACK_BYTES) & ~15;
  mod.___stack_pointer.value = top;
  mod.HEAP32[STACK_BASE.address >> 2] = top;
}

/** Extension hook of PGlite: the only way to its log output and file system. */
const hooks = {
  name: 'hooks',
  setup: async (_pg, options) => ({
    emscriptenOpts: {
      ...options,
      print: onEngineLog,
      printErr: onEngineLog,
      preRun: [...(options.preRun ?? []), (module) => (mod = module)],
      onRuntimeInitialized: moveStack,
    },
  }),
};

let mod;
let starting = true;

async function open() {
  const dist = path.join(workerData.packageDir, 'dist');
  const { PGlite } = await import(pathToFileURL(path.join(dist, 'index.js')).href);
  const { timescaledb } = await import(pathToFileURL(path.join(dist, 'timescaledb', 'index.js')).href);
  const { dataDir } = workerData;
  const isNew = !fs.existsSync(path.join(dataDir, 'PG_VERSION'));
  if (isNew) {
    if (!workerData.create) throw new Error(`the data directory ${dataDir} is gone`);
    // Made aside and moved: killed on the way, nothing half-made is left where the data belongs.
    const fresh = `${dataDir}.new`;
    fs.rmSync(fresh, { recursive: true, force: true });
    // The engine that makes a cluster stays in its template database: it is closed and opened anew.
    await (await PGlite.create({ dataDir: fresh, extensions: { hooks } })).close();
    fs.rmSync(dataDir, { recursive: true, force: true });
    fs.renameSync(fresh, dataDir);
    fs.chmodSync(dataDir, 0o700);
  }
  try {
    await PGlite.create({ dataDir, database: 'postgres', extensions: { timescaledb, hooks } });
  } catch (error) {
    // Making it takes no notice of a disk that fills up: what can't be opened now never can.
    if (isNew) fs.rmSync(dataDir, { recursive: true, force: true });
    throw error;
  }
}

let input = Buffer.alloc(0);
let inputOffset = 0;
let output = [];
let outputBytes = 0;

/** COPY ... FROM STDIN is refused; asked for more input than there is, the engine would end. */
const COPY_FAIL = message('f', cstring('refused'));

function handOver() {
  if (!outputBytes) return;
  const data = new Uint8Array(outputBytes);
  let offset = 0;
  for (const piece of output) {
    data.set(piece, offset);
    offset += piece.length;
  }
  output = [];
  outputBytes = 0;
  Atomics.add(inFlight, 0, data.length);
  parentPort.postMessage({ kind: 'data', data }, [data.buffer]);
  for (let seen = Atomics.load(inFlight, 0); seen > WINDOW_BYTES; seen = Atomics.load(inFlight, 0)) {
    Atomics.wait(inFlight, 0, seen);
  }
}

function installStreams() {
  const write = mod.addFunction((pointer, length) => {
    output.push(mod.HEAPU8.slice(pointer, pointer + length));
    outputBytes += length;
    if (outputBytes >= PIECE_BYTES) handOver();
    return length;
  }, 'iii');
  const read = mod.addFunction((pointer, capacity) => {
    if (inputOffset >= input.length) {
      input = COPY_FAIL;
      inputOffset = 0;
    }
    const length = Math.min(input.length - inputOffset, capacity);
    mod.HEAPU8.set(input.subarray(inputOffset, inputOffset + length), pointer);
    inputOffset += length;
    return length;
  }, 'iii');
  mod._set_read_write_cbs(read, write);
}

function run(bytes) {
  input = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  inputOffset = 0;
  mod._interactive_one(input.length, input[0]);
}

/** Runs SQL of our own during start-up; returns the last row. */
function runOwn(sql) {
  run(query(sql));
  const reply = Buffer.concat(output);
  output = [];
  outputBytes = 0;
  let row = [];
  for (let at = 0; at < reply.length; at += 1 + reply.readInt32BE(at + 1)) {
    const type = String.fromCharCode(reply[at]);
    const body = reply.subarray(at + 5, at + 1 + reply.readInt32BE(at + 1));
    if (type === 'D') row = dataRow(body);
    if (type === 'E') throw new Error(errorFields(body).M);
  }
  return row;
}

function setBaseline() {
  const cstr = (text) => mod.stringToNewUTF8(text);
  for (const [name, value] of Object.entries(BASELINE)) {
    mod._SetConfigOption(cstr(name), cstr(value), PGC_SIGHUP, PGC_S_CLIENT);
  }
}

function freeBytes(folder) {
  const { bavail, bsize } = fs.statfsSync(folder);
  return bavail * bsize;
}

function crashed(error) {
  const fatal = [...logTail].reverse().map((line) => /\b(PANIC|FATAL): +(.*)/.exec(line)?.[2]);
  const reason = fatal.find(Boolean) ?? String(error?.message ?? error);
  const noRoom =
    [String(error), ...logTail].some((line) => /No space left on device|ENOSPC|Disk quota exceeded|EDQUOT/.test(line)) ||
    freeBytes(path.dirname(workerData.dataDir)) < WAL_SEGMENT_BYTES;
  parentPort.postMessage({
    kind: 'fatal',
    reason: noRoom ? `the disk is full (${reason})` : reason,
    stack: String(error?.stack ?? error),
    logTail,
  });
}

parentPort.on('message', ({ kind, bytes }) => {
  try {
    if (kind === 'run') {
      run(bytes);
      handOver();
      parentPort.postMessage({ kind: 'done' });
    } else {
      run(query('CHECKPOINT'));
      try {
        run(message('X'));
        mod._pgl_shutdown();
      } catch (error) {
        if (error?.name !== 'ExitStatus') parentPort.postMessage({ kind: 'log', line: `at shutdown: ${error}` });
      }
      parentPort.postMessage({ kind: 'stopped' });
      parentPort.close();
    }
  } catch (error) {
    crashed(error);
  }
});

try {
  await open();
  if (workerData.durable) makeDurable(mod);
  installStreams();
  // Before anything else: without it compressed data is silently missing from results.
  runOwn("LOAD 'timescaledb'");
  setBaseline();
  // The libraries that convert between encodings end the engine when they are loaded; without their
  // entries the answer is an error. Everything is UTF-8 here.
  runOwn('DELETE FROM pg_catalog.pg_conversion');
  runOwn('RESET ALL');
  const [postgres, timescaledb, encoding, integers] = runOwn(
    "SELECT current_setting('server_version'), (SELECT default_version FROM pg_available_extensions" +
      " WHERE name = 'timescaledb'), current_setting('server_encoding'), current_setting('integer_datetimes')",
  );
  starting = false;
  parentPort.postMessage({ kind: 'ready', postgres, timescaledb, encoding, integers });
} catch (error) {
  crashed(error);
}
