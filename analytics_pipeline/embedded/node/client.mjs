/**
 * One connection: start-up, authentication, and its messages cut into batches that the engine
 * runs in one go.
 */

import { randomBytes } from 'node:crypto';

import { ScramExchange } from './scram.mjs';
import { SessionState } from './sessions.mjs';
import {
  CANCEL_REQUEST,
  GSSENC_REQUEST,
  MessageReader,
  PROTOCOL_3_0,
  ProtocolError,
  SSL_REQUEST,
  authenticationOk,
  backendKeyData,
  errorResponse,
  message,
  negotiateProtocol,
  parameterStatus,
  readCString,
  readyForQuery,
} from './wire.mjs';

/** A client that sends faster than its batches run is not read from beyond this. */
const READ_AHEAD_BYTES = 32 * 1024 * 1024;

/** Messages up to the one that ends a batch: Query, Sync, Flush or FunctionCall. */
class Batch {
  messages = [];
  /** The engine answers with ReadyForQuery: all but Flush. */
  complete = false;

  get size() {
    return this.messages.reduce((sum, { message: bytes }) => sum + bytes.length, 0);
  }

  bytes() {
    return this.messages.length === 1 ? this.messages[0].message : Buffer.concat(this.messages.map((one) => one.message));
  }
}

export class Client {
  #socket;
  #server;
  #reader = new MessageReader();
  #phase = 'startup';
  #scram = null;
  #batch = new Batch();
  #queuedBytes = 0;
  #stall = null;
  batches = [];
  queued = false;
  gone = false;
  /** The number the client knows its session by. */
  pid = 0;
  #secret = randomBytes(4);
  session = new SessionState(new Map());

  /**
   * @param {import('node:net').Socket} socket
   * @param {{arbiter: import('./arbiter.mjs').Arbiter, parameters: Map<string, string>, password: string | null,
   *   nextPid: () => number, cancel: (pid: number, secret: Buffer) => void, stallSeconds: number, onEnd: (client: Client) => void, full: () => boolean}} server
   */
  constructor(socket, server) {
    this.#socket = socket;
    this.#server = server;
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
    if (this.#socket.destroyed || !pieces.length) {
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
      this.#stall = setTimeout(() => this.#socket.destroy(), this.#server.stallSeconds * 1000);
    }
  }

  /** Says a last word and closes the connection. @param {Buffer} [last] */
  end(last) {
    if (this.#phase === 'closed') return;
    this.#phase = 'closed';
    if (last) this.#socket.write(last);
    this.#socket.end();
    // Whoever does not read the last word is let go all the same.
    setTimeout(() => this.#socket.destroy(), 1000).unref();
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
    this.#socket.write(
      Buffer.concat([
        errorResponse('ERROR', '57014', 'canceling statement due to user request'),
        readyForQuery('I'),
      ]),
    );
  }

  #onClose() {
    clearTimeout(this.#stall);
    this.#phase = 'closed';
    this.batches = [];
    this.#server.onEnd(this);
    this.#server.arbiter.leave(this);
  }

  #onData(chunk) {
    if (this.#phase === 'closed') return;
    this.#reader.push(chunk);
    try {
      for (let next = this.#reader.next(); next; next = this.#reader.next()) {
        if (this.#phase === 'startup') this.#onStartup(next.body);
        else if (this.#phase === 'password') this.#onPassword(next);
        else if (this.#phase === 'ready') this.#onMessage(next);
        if (this.#phase === 'closed') return;
      }
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.end(errorResponse('FATAL', error.sqlstate, error.message));
    }
  }

  #onStartup(body) {
    const code = body.readUInt32BE(0);
    if (code === SSL_REQUEST || code === GSSENC_REQUEST) {
      this.#socket.write('N');
      return;
    }
    if (code === CANCEL_REQUEST) {
      this.#server.cancel(body.readInt32BE(4), body.subarray(8));
      this.end();
      return;
    }
    if (code >>> 16 !== 3) throw new ProtocolError(`unsupported frontend protocol ${code >>> 16}.${code & 0xffff}`, '0A000');
    const parameters = new Map();
    for (let at = 4; at < body.length && body[at] !== 0; ) {
      const [name, behindName] = readCString(body, at);
      const [value, behind] = readCString(body, behindName);
      parameters.set(name, value);
      at = behind;
    }
    this.#reader.startup = false;
    if (this.#server.full()) {
      this.end(errorResponse('FATAL', '53300', 'sorry, too many clients already'));
      return;
    }
    const extensions = [...parameters.keys()].filter((name) => name.startsWith('_pq_.'));
    if (code !== PROTOCOL_3_0 || extensions.length) this.#socket.write(negotiateProtocol(extensions));
    this.session = new SessionState(startupSettings(parameters));
    if (this.#server.password === null) this.#welcome();
    else {
      this.#phase = 'password';
      this.#scram = new ScramExchange(this.#server.password);
      this.#socket.write(message('R', this.#scram.mechanisms()));
    }
  }

  #onPassword({ type, body }) {
    if (type !== 'p') throw new ProtocolError(`expected an answer to the password question, not message "${type}"`);
    const { reply, done, failed } = this.#scram.answer(body);
    if (failed) {
      this.end(errorResponse('FATAL', '28P01', 'password authentication failed: the password is in the file tcp_password'));
      return;
    }
    this.#socket.write(message('R', reply));
    if (done) this.#welcome();
  }

  #welcome() {
    this.#phase = 'ready';
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

  #onMessage({ type, message: bytes, body }) {
    switch (type) {
      case 'P':
      case 'B':
      case 'D':
      case 'E':
      case 'C':
        this.#batch.messages.push({ type, message: bytes, body, text: type === 'P' ? parseText(body) : undefined });
        break;
      case 'H':
        // Results are never held back: there is something to do only for messages not yet run.
        if (!this.#batch.messages.length) break;
      // falls through
      case 'Q':
      case 'S':
      case 'F':
        this.#batch.messages.push({ type, message: bytes, body, text: type === 'Q' ? readCString(body)[0] : undefined });
        this.#batch.complete = type !== 'H';
        this.#hand();
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
      default:
        throw new ProtocolError(`invalid frontend message type ${type.charCodeAt(0)}`);
    }
  }

  #hand() {
    this.#queuedBytes += this.#batch.size;
    this.batches.push(this.#batch);
    this.#batch = new Batch();
    if (this.#queuedBytes >= READ_AHEAD_BYTES) this.#socket.pause();
    this.#server.arbiter.wake(this);
  }
}

const parseText = (body) => readCString(body, readCString(body)[1])[0];

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
