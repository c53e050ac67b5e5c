/**
 * Whose turn it is: one client has the engine until its transaction is over, the others wait
 * in the order they came.
 */

import { EngineError } from './engine.mjs';
import { ReplyScanner } from './replies.mjs';
import { SYNC, errorResponse, query } from './wire.mjs';

/** Characters of the holder's statement in the state file. */
const SHOWN_STATEMENT = 500;

export class Arbiter {
  #engine;
  #sessions;
  #idleLimit;
  #holder = null;
  /** Since when the holder has the engine. */
  #heldSince = 0;
  /** Since when it does nothing with it: between two statements of its transaction. @type {number | null} */
  #idleSince = null;
  #statement = '';
  /** What the server's own work of the moment is. @type {string | null} */
  #task = null;
  #queue = [];
  #running = false;
  #guard = null;
  #closed = false;
  /** When the batch now running was started. @type {number | null} */
  busySince = null;

  /**
   * @param {import('./engine.mjs').Engine} engine
   * @param {import('./sessions.mjs').Sessions} sessions
   * @param {{idleInTransactionSeconds: number}} limits
   */
  constructor(engine, sessions, { idleInTransactionSeconds }) {
    this.#engine = engine;
    this.#sessions = sessions;
    this.#idleLimit = idleInTransactionSeconds;
  }

  /** Clients and tasks waiting for their turn. */
  get waiting() {
    return this.#queue.length;
  }

  /** Who keeps the others waiting, for the state file: a client, or with pid 0 the server itself; null if nobody. */
  get holder() {
    const client = this.#holder;
    if (!client && !this.#task) return null;
    return {
      pid: client?.pid ?? 0,
      application: client?.session.startup.get('application_name') ?? '',
      since: new Date(this.#heldSince).toISOString(),
      idle_since: this.#idleSince && new Date(this.#idleSince).toISOString(),
      statement: client ? this.#statement : this.#task,
    };
  }

  /** A client has a batch to run. */
  wake(client) {
    if (client !== this.#holder && !client.queued) {
      client.queued = true;
      this.#queue.push({ client });
    }
    void this.#work();
  }

  /** Drops the first batch of a client that still waits for its turn; returns whether it did. */
  withdraw(client) {
    if (client === this.#holder || !client.queued) return false;
    client.takeBatch();
    if (!client.batches.length) {
      client.queued = false;
      this.#queue = this.#queue.filter((entry) => entry.client !== client);
    }
    return true;
  }

  /** A client is gone: its transaction is rolled back, its place in the queue given up. */
  leave(client) {
    client.gone = true;
    this.#queue = this.#queue.filter((entry) => entry.client !== client);
    if (client !== this.#holder) this.#queue.unshift({ task: () => this.#sessions.leave(client) });
    void this.#work();
  }

  /**
   * Runs a task of the server's own in its turn, with the engine in the server's own session.
   *
   * @template T
   * @param {string} name what it is, for whoever waits for it
   * @param {() => Promise<T>} task
   * @returns {Promise<T>}
   */
  task(name, task) {
    return new Promise((resolve, reject) => {
      this.#queue.push({
        task: async () => {
          this.#task = name;
          this.#heldSince = Date.now();
          this.#idleSince = null;
          try {
            await this.#sessions.switchTo(null);
            resolve(await task());
          } catch (error) {
            reject(error);
          } finally {
            this.#task = null;
          }
        },
      });
      void this.#work();
    });
  }

  /** Takes no more work; resolves when the batch that is running has ended. */
  async close() {
    this.#closed = true;
    clearTimeout(this.#guard);
    while (this.#running) await new Promise((resolve) => setTimeout(resolve, 10));
    if (this.#holder) await this.#rollBack();
  }

  async #work() {
    if (this.#running || this.#closed) return;
    this.#running = true;
    try {
      while (!this.#closed && (await this.#step()));
    } finally {
      this.#running = false;
    }
  }

  /** @returns {Promise<boolean>} whether there was anything to do */
  async #step() {
    if (this.#holder) {
      clearTimeout(this.#guard);
      const client = this.#holder;
      if (client.gone) {
        await this.#rollBack();
        await this.#sessions.leave(client);
        this.#holder = null;
        return true;
      }
      if (client.batches.length) {
        await this.#run(client);
        return true;
      }
      this.#guard = setTimeout(() => this.#expire(client), this.#idleLimit * 1000);
      return false;
    }
    const entry = this.#queue.shift();
    if (!entry) return false;
    if (entry.task) {
      await entry.task();
      return true;
    }
    const { client } = entry;
    client.queued = false;
    this.#holder = client;
    this.#heldSince = Date.now();
    this.#idleSince = null;
    this.#statement = '';
    try {
      await this.#sessions.switchTo(client);
    } catch (error) {
      if (!(error instanceof EngineError)) throw error;
      // A setting of its start-up packet that the engine does not take.
      client.end(errorResponse('FATAL', error.sqlstate, error.message));
      await this.#sessions.leave(client);
      this.#holder = null;
    }
    return true;
  }

  async #run(client) {
    const batch = client.takeBatch();
    this.busySince = Date.now();
    this.#idleSince = null;
    const text = batch.messages.findLast((one) => one.text)?.text;
    if (text) this.#statement = text.slice(0, SHOWN_STATEMENT);
    await this.#sessions.provide(client, batch);
    const reply = new ReplyScanner();
    const onData = (chunk, size) => client.send(reply.push(chunk), () => this.#engine.credit(size));
    await this.#engine.run(batch.bytes(), onData);
    // A refused COPY has swallowed the Sync that ends the batch.
    if (batch.complete && !reply.status) await this.#engine.run(SYNC, onData);
    this.busySince = null;
    this.#idleSince = Date.now();
    this.#sessions.note(client, batch, reply);
    this.#deliver(reply.notifications);
    if (reply.status !== 'I') return;
    await this.#sessions.settle(client, batch, reply);
    if (client.gone) return;
    this.#holder = null;
    if (client.batches.length) this.wake(client);
  }

  #deliver(notifications) {
    for (const { channel, message } of notifications) {
      for (const listener of this.#sessions.listeners(channel)) listener.send([message], () => {});
    }
  }

  /** Ends whatever the holder has open. */
  async #rollBack() {
    for (const bytes of [SYNC, query('ROLLBACK')]) {
      const reply = new ReplyScanner();
      await this.#engine.run(bytes, (chunk, size) => {
        reply.push(chunk);
        this.#engine.credit(size);
      });
      if (reply.status === 'I') return;
    }
  }

  #expire(client) {
    if (this.#holder !== client || client.batches.length) return;
    client.end(
      errorResponse(
        'FATAL',
        '25P03',
        `terminating connection: idle in a transaction for more than ${this.#idleLimit} s`,
        'The embedded TimescaleDB serves one transaction at a time; this one was rolled back so that others can go on.',
      ),
    );
    this.leave(client);
  }
}
