/**
 * Whose turn it is: one client has the engine until its transaction is over, the others wait
 * in the order they came. Nobody has it for ever, and where it crashes it is started again.
 */

import { EngineCrash, EngineError } from './engine.mjs';
import { ReplyScanner } from './replies.mjs';
import { SYNC, errorResponse, query } from './wire.mjs';

/** Characters of the holder's statement in the state file. */
const SHOWN_STATEMENT = 500;
/** Who waits longer finds in the log for whom. */
const LONG_WAIT_MS = 5000;
const RESTART_HINT =
  'It is started again, which takes a few seconds; the transaction is rolled back, everything committed is kept. Connect again.';

export class Arbiter {
  #engine;
  #sessions;
  #limits;
  #log;
  #onFatal;
  #holder = null;
  /** Since when the holder has the engine. */
  #heldSince = 0;
  /** Since when it does nothing with it: between two statements of its transaction. @type {number | null} */
  #idleSince = null;
  #statement = '';
  /** What the statement that runs has answered so far. @type {ReplyScanner | null} */
  #reply = null;
  /** What the server's own work of the moment is. @type {string | null} */
  #task = null;
  #queue = [];
  #running = false;
  /** Ends a holder that does nothing. */
  #idleGuard = null;
  /** Ends a turn that takes too long. */
  #turnGuard = null;
  #closed = false;
  /** When the batch now running was started. @type {number | null} */
  busySince = null;

  /**
   * @param {import('./engine.mjs').Engine} engine
   * @param {import('./sessions.mjs').Sessions} sessions
   * @param {{idleInTransactionSeconds: number, transactionSeconds: number, log: (line: string) => void,
   *   onFatal: (reason: string, detail: string) => void}} options `onFatal`: the engine can't be started again
   */
  constructor(engine, sessions, { idleInTransactionSeconds, transactionSeconds, log, onFatal }) {
    this.#engine = engine;
    this.#sessions = sessions;
    this.#limits = { idle: idleInTransactionSeconds, transaction: transactionSeconds };
    this.#log = log;
    this.#onFatal = onFatal;
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
      this.#queue.push({ client, since: Date.now() });
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
    if (client !== this.#holder) this.#queue.unshift({ task: () => this.#sessions.leave(client), since: Date.now() });
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
        since: Date.now(),
        task: async () => {
          this.#task = name;
          this.#startTurn();
          try {
            await this.#sessions.switchTo(null);
            resolve(await task());
          } catch (error) {
            reject(error);
            if (error instanceof EngineCrash) throw error;
          }
          this.#endTurn();
        },
      });
      void this.#work();
    });
  }

  /** Puts into the log who has waited for long, and for whom; once for each wait. To be called now and then. */
  reportWaits() {
    const holder = this.#holder ?? this.#task;
    if (!holder) return;
    for (const entry of this.#queue) {
      const waited = Date.now() - entry.since;
      if (!entry.client || waited < LONG_WAIT_MS || entry.reported === holder) continue;
      entry.reported = holder;
      const seconds = (since) => `${Math.round((Date.now() - since) / 1000)} s`;
      const doing = this.#idleSince ? `idle in a transaction for ${seconds(this.#idleSince)} after` : 'running';
      this.#log(
        `${entry.client} has waited ${seconds(entry.since)} for ${holder}, which has had the database for ` +
          `${seconds(this.#heldSince)}${this.#holder ? `, ${doing}: ${this.#statement.slice(0, 100).replace(/\s+/g, ' ')}` : ''}`,
      );
    }
  }

  /** Takes no more work; resolves when the batch that is running has ended. */
  async close() {
    this.#closed = true;
    while (this.#running) await new Promise((resolve) => setTimeout(resolve, 10));
    try {
      if (this.#holder) await this.#rollBack();
    } catch (error) {
      if (!(error instanceof EngineCrash)) throw error;
    }
    this.#endTurn();
  }

  async #work() {
    if (this.#running || this.#closed) return;
    this.#running = true;
    try {
      while (!this.#closed && (await this.#turn()));
    } finally {
      this.#running = false;
    }
  }

  /** @returns {Promise<boolean>} whether there was anything to do */
  async #turn() {
    try {
      return await this.#step();
    } catch (error) {
      if (!(error instanceof EngineCrash)) throw error;
      return this.#recover(error);
    }
  }

  async #step() {
    if (this.#holder) {
      clearTimeout(this.#idleGuard);
      const client = this.#holder;
      if (client.gone) {
        await this.#rollBack();
        await this.#sessions.leave(client);
        this.#endTurn();
        return true;
      }
      if (client.batches.length) {
        await this.#run(client);
        return true;
      }
      this.#idleGuard = setTimeout(() => this.#expire(client), this.#limits.idle * 1000);
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
    // One that has been ended meanwhile.
    if (!client.batches.length) return true;
    this.#holder = client;
    this.#startTurn();
    try {
      await this.#sessions.switchTo(client);
    } catch (error) {
      if (!(error instanceof EngineError)) throw error;
      // A setting of its start-up packet that the engine does not take.
      client.end(errorResponse('FATAL', error.sqlstate, error.message));
      await this.#sessions.leave(client);
      this.#endTurn();
    }
    return true;
  }

  async #run(client) {
    const batch = client.takeBatch();
    this.busySince = Date.now();
    this.#idleSince = null;
    const text = batch.messages.findLast((one) => one.text)?.text;
    if (text) this.#statement = text.slice(0, SHOWN_STATEMENT);
    const reply = new ReplyScanner();
    this.#reply = reply;
    const onData = (chunk, sent) => client.send(reply.push(chunk), sent);
    await this.#sessions.provide(client, batch);
    await this.#engine.run(batch.bytes(), onData);
    // A refused COPY has swallowed the Sync that ends the batch.
    if (batch.complete && !reply.status) await this.#engine.run(SYNC, onData);
    this.busySince = null;
    this.#idleSince = Date.now();
    this.#reply = null;
    this.#sessions.note(client, batch, reply);
    this.#deliver(reply.notifications);
    if (reply.status !== 'I') return;
    await this.#sessions.settle(client, batch, reply);
    if (client.gone) return;
    this.#endTurn();
    if (client.batches.length) this.wake(client);
  }

  #startTurn() {
    this.#heldSince = Date.now();
    this.#idleSince = null;
    this.#statement = '';
    this.#turnGuard = setTimeout(() => this.#overrun(), this.#limits.transaction * 1000);
  }

  #endTurn() {
    clearTimeout(this.#turnGuard);
    clearTimeout(this.#idleGuard);
    this.#holder = null;
    this.#task = null;
    this.#reply = null;
    this.busySince = null;
  }

  #deliver(notifications) {
    for (const { channel, message } of notifications) {
      for (const listener of this.#sessions.listeners(channel)) listener.notify(message);
    }
  }

  /** Ends whatever the holder has open. */
  async #rollBack() {
    for (const bytes of [SYNC, query('ROLLBACK')]) {
      if ((await this.#engine.ask(bytes)).status === 'I') return;
    }
  }

  #expire(client) {
    if (this.#holder !== client || client.batches.length) return;
    this.#dismiss(client, '25P03', `idle in a transaction for more than ${this.#limits.idle} s`);
  }

  /** A turn takes too long. A statement can't be interrupted: where one runs, the engine is ended and started again. */
  #overrun() {
    const reason = `the transaction took longer than ${this.#limits.transaction} s`;
    if (this.#running) this.#engine.abort(reason, '', '25P04');
    else if (this.#holder) this.#dismiss(this.#holder, '25P04', reason);
  }

  /** Ends a client that has the engine, between two of its statements. */
  #dismiss(client, sqlstate, reason) {
    this.#log(`${client} is ended: ${reason}`);
    client.end(
      errorResponse(
        'FATAL',
        sqlstate,
        `terminating connection: ${reason}`,
        'The embedded TimescaleDB serves one transaction at a time; this one was rolled back so that others can go on.',
      ),
    );
  }

  /** The engine has ended: whoever had it is notified, and a new one takes over what is committed. */
  async #recover(crash) {
    const holder = this.#holder;
    const withinRow = this.#reply?.withinMessage;
    const running = holder ? `a statement of ${holder}: ${this.#statement.slice(0, 100)}` : (this.#task ?? 'nothing');
    this.#endTurn();
    this.#log(`the engine has failed: ${crash.message}; it ran ${running}\n${crash.detail}`);
    // Who comes meanwhile waits for this.
    this.#task = 'starting the database engine again';
    this.#heldSince = Date.now();
    this.#idleSince = null;
    const tell = (client, text) => client.end(errorResponse('FATAL', crash.sqlstate, text, RESTART_HINT));
    if (withinRow) holder.drop();
    else if (holder) tell(holder, `the database engine has failed: ${crash.message}`);
    try {
      await this.#engine.start({ create: false });
      for (const client of await this.#sessions.renew()) {
        tell(client, `the database engine has failed, and your temporary tables with it: ${crash.message}`);
      }
      if (holder?.gone) await this.#sessions.leave(holder);
    } catch (error) {
      if (!(error instanceof EngineCrash)) throw error;
      this.#closed = true;
      this.#onFatal(crash.message, `starting it again failed: ${error.message}\n${error.detail}`);
      return false;
    }
    this.#log(`the engine was started again within ${Date.now() - this.#heldSince} ms`);
    this.#task = null;
    return true;
  }
}
