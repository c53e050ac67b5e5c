/**
 * The engine as the server sees it: one statement batch at a time, output as it comes, and a new engine on the same
 * data where one has crashed.
 */

import { Worker } from 'node:worker_threads';

import { ReplyScanner } from './replies.mjs';
import { query } from './wire.mjs';

/** Of the machine's own stack, in MB: more than the 2 MB of max_stack_depth take there. */
const NATIVE_STACK_MB = 64;

/** An error the engine answered to SQL of the server's own. */
export class EngineError extends Error {
  /** @param {Record<string, string>} fields of the ErrorResponse */
  constructor(fields) {
    super(fields.M);
    this.sqlstate = fields.C;
  }
}

/** The engine has ended, or was ended: nothing runs until `start` has made a new one. */
export class EngineCrash extends Error {
  /** @param {string} reason @param {string} detail for the log @param {string} sqlstate for the client */
  constructor(reason, detail, sqlstate) {
    super(reason);
    this.detail = detail;
    this.sqlstate = sqlstate;
  }
}

export class Engine {
  #options;
  #worker = null;
  /** Bytes of output that have not left the server. */
  #inFlight = null;
  /** What is under way: a start, a batch or the stop. @type {{resolve: Function, reject: Function, onData?: Function} | null} */
  #pending = null;
  /** @type {EngineCrash | null} */
  #crash = new EngineCrash('it has not been started', '', '57P03');
  /** Settled when the thread of the engine before this one is gone: only then may another one open the data. */
  #gone = Promise.resolve();
  versions = null;

  /**
   * @param {{packageDir: string, dataDir: string, durable: boolean, startSeconds: number,
   *   onLog: (line: string) => void}} options
   */
  constructor(options) {
    this.#options = options;
  }

  /**
   * Starts an engine; rejects with EngineCrash where none comes up.
   *
   * @param {{create: boolean}} options whether it may make the data directory
   */
  async start({ create }) {
    const { packageDir, dataDir, durable, startSeconds, onLog } = this.#options;
    await this.#gone;
    this.#inFlight = new Int32Array(new SharedArrayBuffer(4));
    this.#crash = null;
    const worker = new Worker(new URL('./engine_worker.mjs', import.meta.url), {
      workerData: { packageDir, dataDir, durable, create, inFlight: this.#inFlight.buffer },
      resourceLimits: { stackSizeMb: NATIVE_STACK_MB },
    });
    this.#worker = worker;
    worker.on('message', (event) => {
      if (worker !== this.#worker) return;
      switch (event.kind) {
        case 'data':
          this.#pending.onData(Buffer.from(event.data.buffer));
          break;
        case 'ready':
          this.versions = event;
          this.#settle();
          break;
        case 'done':
        case 'stopped':
          this.#settle();
          break;
        case 'log':
          onLog(event.line);
          break;
        case 'fatal':
          this.abort(event.reason, [event.stack, ...event.logTail].join('\n'));
          break;
      }
    });
    worker.on('error', (error) => worker === this.#worker && this.abort(error.message, String(error.stack)));
    worker.on('exit', (code) => worker === this.#worker && this.abort(`its thread ended with status ${code}`));
    const late = setTimeout(() => this.abort(`it did not start within ${startSeconds} s`), startSeconds * 1000);
    try {
      await new Promise((resolve, reject) => (this.#pending = { resolve, reject }));
    } finally {
      clearTimeout(late);
    }
  }

  /**
   * Runs protocol messages; one call at a time. Rejects with EngineCrash where the engine ends.
   *
   * @param {Buffer} bytes
   * @param {(chunk: Buffer, sent: () => void) => void} onData gets the output; owes a call of `sent` for each chunk
   */
  async run(bytes, onData) {
    if (this.#crash) throw this.#crash;
    if (this.#pending) throw new Error('the engine is already running a batch');
    const inFlight = this.#inFlight;
    await new Promise((resolve, reject) => {
      this.#pending = {
        resolve,
        reject,
        onData: (chunk) =>
          onData(chunk, () => {
            Atomics.sub(inFlight, 0, chunk.length);
            Atomics.notify(inFlight, 0);
          }),
      };
      this.#worker.postMessage({ kind: 'run', bytes });
    });
  }

  /**
   * Runs protocol messages whose answer only the server reads.
   *
   * @param {Buffer} bytes @param {{keepRows?: boolean}} [options] @returns {Promise<ReplyScanner>}
   */
  async ask(bytes, options) {
    const reply = new ReplyScanner(options);
    await this.run(bytes, (chunk, sent) => {
      reply.push(chunk);
      sent();
    });
    return reply;
  }

  /**
   * Runs SQL of the server's own and returns the rows of each statement that has any.
   *
   * @param {string} sql
   * @returns {Promise<(string | null)[][][]>}
   */
  async query(sql) {
    const reply = await this.ask(query(sql), { keepRows: true });
    if (reply.error) throw new EngineError(reply.error);
    return reply.results;
  }

  /** Ends the engine at once, whatever it is doing: what runs is rejected. Like a kill, it loses nothing committed. */
  abort(reason, detail = '', sqlstate = '57P02') {
    const worker = this.#worker;
    if (!worker) return;
    this.#worker = null;
    this.#crash = new EngineCrash(reason, detail, sqlstate);
    const pending = this.#pending;
    this.#pending = null;
    this.#gone = worker.terminate();
    pending?.reject(this.#crash);
  }

  /** Writes everything out and ends the engine. */
  async stop() {
    if (this.#crash) return;
    await new Promise((resolve, reject) => {
      this.#pending = { resolve, reject };
      this.#worker.postMessage({ kind: 'stop' });
    });
    this.#worker = null;
  }

  #settle() {
    const pending = this.#pending;
    this.#pending = null;
    pending?.resolve();
  }
}
