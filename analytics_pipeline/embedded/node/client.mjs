/**
 * One connection: start-up, authentication, and its messages cut into batches that the engine
 * runs in one go.
 */

import { randomBytes } from 'node:crypto';

import { readMessage, readStartup } from './messages.mjs';
import { refuseWhatLeaks } from './refusals.mjs';
import { ScramExchange } from './scram.mjs';
import { SessionState } from './sessions.mjs';
import {
  FLUSH,
  MAX_LOGIN_BYTES,
  MAX_MESSAGE_BYTES,
  MessageReader,
  ProtocolError,
  SECRET_BYTES,
  TooLargeError,
  authenticationOk,
  backendKeyData,
  errorResponse,
  message,
  negotiateProtocol,
  parameterStatus,
  readyForQuery,
} from './wire.mjs';

/** A client that sends faster than its batches run is not read from beyond this. */
const READ_AHEAD_BYTES = 32 * 1024 * 1024;
/** Messages without a Sync are run when there are so many of them. */
const BATCH_BYTES = 8 * 1024 * 1024;
/** A client that listens and does not read is let go beyond this. */
const UNREAD_BYTES = 8 * 1024 * 1024;
const LAST_WORD_SECONDS = 1;
/** A client that sends a message nobody takes reads the reason when it is through, or has paused for as long. */
const DRAIN_PAUSE_SECONDS = 10;

/** Messages up to the one that ends a batch: Query, Sync, Flush or FunctionCall. */
class Batch {
  messages = [];
  size = 0;
  /** The engine answers with ReadyForQuery: all but Flush. */
  complete = false;

  /** @param {import('./messages.mjs').Message} read */
  add(read) {
    this.messages.push(read);
    this.size += read.message.length;
  }

  bytes() {
    return this.messages.length === 1 ? this.messages[0].message : Buffer.concat(this.messages.map((one) => one.message));
  }
}

export class Client {
  #socket;
  #server;
  #verifier;
  #reader = new MessageReader();
  #phase = 'startup';
  #scram = null;
  #batch = new Batch();
  #queuedBytes = 0;
  #loginBytes = 0;
  #stall = null;
  /** A message that nobody takes, and how many bytes of it are still to come. @type {TooLargeError | null} */
  #refused = null;
  #toDrain = 0;
  batches = [];
  queued = false;
  gone = false;
  /** The number the client knows its session by. */
  pid = 0;
  /** Whoever knows it may cancel what this client waits for. */
  #secret = randomBytes(SECRET_BYTES);
  /** Until when it has to log in; kept by Places. */
  deadline = null;
  session = new SessionState(new Map());

  /**
   * @param {import('node:net').Socket} socket
   * @param {{arbiter: import('./arbiter.mjs').Arbiter, places: import('./places.mjs').Places, log: (line: string) => void,
   *   parameters: Map<string, string>, nextPid: () => number, stallSeconds: number}} server
   * @param {import('./scram.mjs').ScramVerifier | null} verifier with one, it has to know the password
   */
  constructor(socket, server, verifier) {
    this.#socket = socket;
    this.#server = server;
    this.#verifier = verifier;
    /** Whether it came over TCP: the one way in that asks for a password. */
    this.tcp = verifier !== null;
    socket.setNoDelay?.(true);
    socket.on('data', (chunk) => this.#onData(chunk));
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.#onClose());
  }

  /** Takes the first batch out of the client's line. */
  takeBatch() {
    const batch = this.batches.shift();
    this.#queuedBytes -= batch.size;
    if (this.#queuedBytes < READ_AHEAD_BYTES) this.#socket.resume();
    return batch;
  }

  /**
   * @param {Buffer[]} pieces
   * @param {() => void} sent called when they have left the server, or never will
   */
  send(pieces, sent) {
    if (this.#phase === 'closed' || this.#socket.destroyed || !pieces.length) {
      sent();
      return;
    }
    if (pieces.length > 1) this.#socket.cork();
    for (const piece of pieces.slice(0, -1)) this.#socket.write(piece);
    const flushed = this.#socket.write(pieces.at(-1), () => {
      clearTimeout(this.#stall);
      this.#stall = null;
      sent();
    });
    if (pieces.length > 1) this.#socket.uncork();
    // The engine waits for a client that does not read, and everybody else with it: not for ever.
    if (!flushed && !this.#stall) {
      this.#stall = setTimeout(() => this.#unread(), this.#server.stallSeconds * 1000);
    }
  }

  /** @param {Buffer} notification which it has not asked for just now, and may never read */
  notify(notification) {
    if (this.#socket.writableLength > UNREAD_BYTES) this.#unread();
    else this.send([notification], () => {});
  }

  /** Says a last word and closes the connection. @param {Buffer} [last] */
  end(last) {
    if (this.#phase === 'closed') return;
    this.#forget();
    this.#phase = 'closed';
    if (last) this.#socket.write(last);
    this.#socket.end();
    // Whoever does not read the last word is let go all the same.
    setTimeout(() => this.#socket.destroy(), LAST_WORD_SECONDS * 1000).unref();
  }

  /** Closes the connection without a word: nobody reads it, or it would stand in the middle of a row. */
  drop() {
    this.#forget();
    this.#phase = 'closed';
    this.#socket.destroy();
  }

  /** The client in the log: the name it gave itself, and its number. */
  toString() {
    const name = this.session.startup.get('application_name');
    return `client ${this.pid}${name ? ` (${name.slice(0, 60)})` : ''}`;
  }

  #unread() {
    this.#server.log(`${this} is ended: it does not read what it is sent`);
    this.drop();
  }

  /** Nothing it has sent is run any more, and whatever comes is read and forgotten. */
  #forget() {
    this.batches = [];
    this.#batch = new Batch();
    this.#reader = new MessageReader();
    this.#socket.resume();
    this.#server.arbiter.leave(this);
  }

  /**
   * Somebody asks to cancel what this client waits for. What runs can't be interrupted; what still waits for its turn is
   * dropped, and answered as PostgreSQL answers.
   *
   * @param {Buffer} secret the key that the client was given
   */
  cancel(secret) {
    // One that ends in Flush expects more than an answer.
    if (!this.#secret.equals(secret) || !this.batches[0]?.complete || !this.#server.arbiter.withdraw(this)) return;
    this.send([errorResponse('ERROR', '57014', 'canceling statement due to user request'), readyForQuery('I')], () => {});
  }

  #onClose() {
    clearTimeout(this.#stall);
    this.#phase = 'closed';
    this.batches = [];
    this.#server.places.leave(this);
    this.#server.arbiter.leave(this);
  }

  #onData(chunk) {
    if (this.#phase === 'closed') return;
    const rest = this.#phase === 'draining' ? this.#drain(chunk) : chunk;
    if (rest.length) this.#reader.push(rest);
    try {
      for (let next = this.#reader.next(); next; next = this.#reader.next()) {
        if (this.#phase === 'startup') this.#onStartup(next.body);
        else if (this.#phase === 'password') this.#onPassword(next);
        else if (this.#phase === 'ready') this.#onMessage(next);
        else if (this.#phase === 'draining') this.#endDraining(next.type);
        if (this.#phase === 'closed') return;
      }
      if (this.#phase === 'startup' || this.#phase === 'password') this.#limitLogin(chunk);
    } catch (error) {
      this.#refuse(error);
    }
  }

  #limitLogin(chunk) {
    this.#loginBytes += chunk.length;
    if (this.#loginBytes > MAX_LOGIN_BYTES) throw new ProtocolError(`more than ${MAX_LOGIN_BYTES} bytes before the log-in`);
  }

  /** Whatever is wrong with what a client sends, it is the client's end alone. */
  #refuse(error) {
    if (error instanceof TooLargeError && this.#phase === 'ready') {
      // Answered at once, a client that is still sending would not read why.
      this.#refused = error;
      this.#toDrain = error.missing;
      this.#forget();
      this.#reader.startup = false;
      this.#phase = 'draining';
      this.#socket.setTimeout(DRAIN_PAUSE_SECONDS * 1000, () => this.#endDraining('S'));
    } else if (error instanceof ProtocolError) {
      this.end(errorResponse('FATAL', error.sqlstate, error.message));
    } else {
      this.#server.log(`${this} is ended by an error of the server's own: ${error.stack}`);
      this.end(errorResponse('FATAL', 'XX000', `internal error: ${error.message}`));
    }
  }

  /** @param {Buffer} chunk @returns {Buffer} what of it is behind the message that is too large */
  #drain(chunk) {
    const drained = Math.min(this.#toDrain, chunk.length);
    this.#toDrain -= drained;
    if (drained && !this.#toDrain) this.#endDraining(this.#refused.type);
    return chunk.subarray(drained);
  }

  /** @param {string} type of a message that is through: what ends a batch ends the client */
  #endDraining(type) {
    if (!/[QSX]/.test(type)) return;
    const { sqlstate, message: text, hint } = this.#refused;
    this.end(errorResponse('FATAL', sqlstate, text, hint));
  }

  #onStartup(body) {
    const { kind, minor, parameters, pid, secret } = readStartup(body);
    if (kind === 'encryption') {
      this.#socket.write('N');
      return;
    }
    if (kind === 'cancel') {
      this.#server.places.find(pid)?.cancel(secret);
      this.end();
      return;
    }
    this.#reader.startup = false;
    const extensions = [...parameters.keys()].filter((name) => name.startsWith('_pq_.'));
    if (minor || extensions.length) this.#socket.write(negotiateProtocol(extensions));
    this.session = new SessionState(startupSettings(parameters));
    if (!this.#verifier) this.#welcome();
    else {
      this.#phase = 'password';
      this.#scram = new ScramExchange(this.#verifier);
      this.#socket.write(message('R', this.#scram.mechanisms()));
    }
  }

  #onPassword({ type, body }) {
    if (type !== 'p') throw new ProtocolError('expected an answer to the password question');
    const { reply, done, failed } = this.#scram.answer(body);
    if (failed) {
      this.end(errorResponse('FATAL', '28P01', 'password authentication failed: the password is in the file tcp_password'));
      return;
    }
    this.#socket.write(message('R', reply));
    if (done) this.#welcome();
  }

  #welcome() {
    if (!this.#server.places.take(this)) {
      this.end(errorResponse('FATAL', '53300', 'sorry, too many clients already'));
      return;
    }
    this.#phase = 'ready';
    this.#reader.limit = MAX_MESSAGE_BYTES;
    this.pid = this.#server.nextPid();
    const { startup } = this.session;
    const reported = [...this.#server.parameters].map(([name, value]) => {
      const asked = [...startup].find(([key]) => key.toLowerCase() === name.toLowerCase());
      return parameterStatus(name, asked ? asked[1] : value);
    });
    this.#socket.write(
      Buffer.concat([authenticationOk(), ...reported, backendKeyData(this.pid, this.#secret), readyForQuery('I')]),
    );
  }

  #onMessage(framed) {
    const read = refuseWhatLeaks(readMessage(framed));
    switch (read.type) {
      case 'P':
      case 'B':
      case 'D':
      case 'E':
      case 'C':
        this.#batch.add(read);
        if (this.#batch.size > BATCH_BYTES) this.#hand(FLUSH);
        break;
      case 'H':
        // Results are never held back: there is something to do only for messages not yet run.
        if (this.#batch.messages.length) this.#hand(read);
        break;
      case 'Q':
      case 'S':
      case 'F':
        this.#hand(read);
        break;
      case 'd':
      case 'c':
      case 'f':
        // Data of a COPY that was refused.
        break;
      case 'X':
        this.#phase = 'closing';
        if (!this.batches.length) this.end();
        else this.#socket.end();
        break;
    }
  }

  /** Hands over the batch that this message ends. @param {import('./messages.mjs').Message} last */
  #hand(last) {
    this.#batch.add(last);
    this.#batch.complete = last.type !== 'H';
    this.#queuedBytes += this.#batch.size;
    this.batches.push(this.#batch);
    this.#batch = new Batch();
    if (this.#queuedBytes >= READ_AHEAD_BYTES) this.#socket.pause();
    this.#server.arbiter.wake(this);
  }
}

/** Start-up parameters that are not settings. */
const NOT_SETTINGS = new Set(['user', 'database', 'options', 'replication']);

/**
 * @param {Map<string, string>} parameters of the start-up packet
 * @returns {Map<string, string>} the settings among them, those of `options` included
 */
function startupSettings(parameters) {
  const settings = new Map();
  const words = (parameters.get('options') ?? '').match(/(?:\\.|[^\s\\])+/gs) ?? [];
  for (let at = 0; at < words.length; at += 1) {
    let word = words[at].replace(/\\(.)/gs, '$1');
    if (word === '-c') word = `--${(words[(at += 1)] ?? '').replace(/\\(.)/gs, '$1')}`;
    else if (word.startsWith('-c')) word = `--${word.slice(2)}`;
    const equals = word.indexOf('=');
    if (!word.startsWith('--') || equals < 0) throw new ProtocolError(`start-up option ${word} is not of the form -c name=value`, '42601');
    settings.set(word.slice(2, equals).replaceAll('-', '_'), word.slice(equals + 1));
  }
  for (const [name, value] of parameters) {
    if (!NOT_SETTINGS.has(name) && !name.startsWith('_pq_.')) settings.set(name, value);
  }
  const encoding = settings.get('client_encoding');
  if (encoding && /^utf-?8$|^unicode$|^auto$/i.test(encoding)) settings.set('client_encoding', 'UTF8');
  return settings;
}
