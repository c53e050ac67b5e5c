/**
 * The engine as the server sees it: one statement batch at a time, output as it comes.
 *
 * Belongs here: talking to the engine's thread. Does not belong here: whose turn it is.
 */

import { Worker } from 'node:worker_threads';

import { ReplyScanner } from './replies.mjs';
import { query } from './wire.mjs';

/** An error the engine answered to SQL of the server's own. */
export class EngineError extends Error {
  /** @param {Record<string, string>} fields of the ErrorResponse */
  constructor(fields) {
    super(fields.M);
    this.sqlstate = fields.C;
  }
}

export class Engine {
  #worker;
  #inFlight = new Int32Array(new SharedArrayBuffer(4));
  #onData = null;
  #settle = null;
  #onFatal;
  #onLog;
  #stopped = null;
  versions = null;

  /**
   * @param {{packageDir: string, dataDir: string, durable: boolean, onFatal: (reason: string, detail: string) => void,
   *   onLog: (line: string) => void}} options
   */
  constructor({ packageDir, dataDir, durable, onFatal, onLog }) {
    this.#onFatal = onFatal;
    this.#onLog = onLog;
    this.#worker = new Worker(new URL('./engine_worker.mjs', import.meta.url), {
      workerData: { packageDir, dataDir, durable, inFlight: this.#inFlight.buffer },
    });
  }

  /** Resolves when the engine takes statements. */
  ready() {
    return new Promise((resolve) => {
      this.#worker.on('message', (event) => {
        switch (event.kind) {
          case 'data':
            this.#onData?.(Buffer.from(event.data.buffer), event.data.length);
            break;
          case 'done':
            this.#settle?.();
            break;
          case 'ready':
            this.versions = event;
            resolve();
            break;
          case 'log':
            this.#onLog(event.line);
            break;
          case 'stopped':
            this.#stopped?.();
            break;
          case 'fatal':
            this.#onFatal(event.reason, [event.stack, ...event.logTail].join('\n'));
            break;
        }
      });
      this.#worker.on('error', (error) => this.#onFatal(error.message, String(error.stack)));
      this.#worker.on('exit', (code) => {
        if (!this.#stopped) this.#onFatal(`its thread ended with status ${code}`, '');
      });
    });
  }

  /**
   * Runs protocol messages; one call at a time.
   *
   * @param {Buffer} bytes
   * @param {(chunk: Buffer, size: number) => void} onData gets the output; owes a `credit(size)` for each
   */
  run(bytes, onData) {
    if (this.#settle) throw new Error('the engine is already running a batch');
    return new Promise((resolve) => {
      this.#onData = onData;
      this.#settle = () => {
        this.#settle = null;
        this.#onData = null;
        resolve();
      };
      this.#worker.postMessage({ kind: 'run', bytes });
    });
  }

  /** @param {number} size of output that has left the server */
  credit(size) {
    Atomics.sub(this.#inFlight, 0, size);
    Atomics.notify(this.#inFlight, 0);
  }

  /**
   * Runs SQL of the server's own and returns the rows of each statement that has any.
   *
   * @param {string} sql
   * @returns {Promise<(string | null)[][][]>}
   */
  async query(sql) {
    const scanner = new ReplyScanner({ keepRows: true });
    await this.run(query(sql), (chunk, size) => {
      scanner.push(chunk);
      this.credit(size);
    });
    if (scanner.error) throw new EngineError(scanner.error);
    return scanner.results;
  }

  /** Writes everything out and ends the engine. */
  stop() {
    return new Promise((resolve) => {
      this.#stopped = resolve;
      this.#worker.postMessage({ kind: 'stop' });
    });
  }
}
