/**
 * What a client may send: every message is read here, once and whole, before anything acts on it. What does not keep to
 * the protocol to the last byte is a ProtocolError, which ends that client; the engine sees well-formed messages only.
 */

import {
  CANCEL_REQUEST,
  GSSENC_REQUEST,
  PROTOCOL_3_0,
  ProtocolError,
  SECRET_BYTES,
  SSL_REQUEST,
  readCString,
} from './wire.mjs';

/** Reads the fields of a message one after the other. */
class Fields {
  #body;
  #at = 0;

  /** @param {Buffer} body */
  constructor(body) {
    this.#body = body;
  }

  get rest() {
    return this.#body.length - this.#at;
  }

  byte() {
    return this.#take(1)[0];
  }

  int16() {
    return this.#take(2).readInt16BE(0);
  }

  int32() {
    return this.#take(4).readInt32BE(0);
  }

  text() {
    const [text, behind] = readCString(this.#body, this.#at);
    this.#at = behind;
    return text;
  }

  /** @param {number} size @returns {Buffer} */
  bytes(size) {
    return this.#take(size);
  }

  /** Values as Bind and FunctionCall have them: a number of them, each with its length, -1 for NULL. */
  values() {
    for (let left = this.#count(); left > 0; left -= 1) this.value();
  }

  /** @returns {Buffer | null} */
  value() {
    const size = this.int32();
    if (size < -1) throw new ProtocolError(`invalid length ${size} of a value in message`);
    return size < 0 ? null : this.#take(size);
  }

  /** A number of codes of two bytes each. */
  codes() {
    this.#take(2 * this.#count());
  }

  /** A number of object ids. */
  oids() {
    this.#take(4 * this.#count());
  }

  end() {
    if (this.rest) throw new ProtocolError('invalid message format: bytes behind its last field');
  }

  /** Numbers of parameters are unsigned: up to 65,535. */
  #count() {
    return this.#take(2).readUInt16BE(0);
  }

  #take(size) {
    if (this.rest < size) throw new ProtocolError('insufficient data left in message');
    this.#at += size;
    return this.#body.subarray(this.#at - size, this.#at);
  }
}

/**
 * @param {Buffer} body of a packet without type
 * @returns {{kind: 'encryption' | 'cancel' | 'start', minor?: number, parameters?: Map<string, string>, pid?: number,
 *   secret?: Buffer}} `pid` and `secret` tell whose statement is to be cancelled
 */
export function readStartup(body) {
  const fields = new Fields(body);
  const code = fields.int32() >>> 0;
  if (code === SSL_REQUEST || code === GSSENC_REQUEST) {
    fields.end();
    return { kind: 'encryption' };
  }
  if (code === CANCEL_REQUEST) {
    const request = { kind: 'cancel', pid: fields.int32(), secret: fields.bytes(SECRET_BYTES) };
    fields.end();
    return request;
  }
  if (code >>> 16 !== PROTOCOL_3_0 >>> 16) {
    throw new ProtocolError(`unsupported frontend protocol ${code >>> 16}.${code & 0xffff}`, '0A000');
  }
  const parameters = new Map();
  for (let name = fields.text(); name; name = fields.text()) parameters.set(name, fields.text());
  fields.end();
  return { kind: 'start', minor: code & 0xffff, parameters };
}

/** @param {Buffer} body of the first message of a SASL exchange @returns {{mechanism: string, data: string}} */
export function readSaslStart(body) {
  const fields = new Fields(body);
  const mechanism = fields.text();
  const data = fields.value();
  fields.end();
  return { mechanism, data: data?.toString('utf8') ?? '' };
}

/**
 * @param {{type: string, message: Buffer, body: Buffer}} framed a message as it came
 * @returns {Message}
 *
 * @typedef {object} Message
 * @property {string} type
 * @property {Buffer} message the whole of it, as the engine gets it
 * @property {Buffer} body
 * @property {string} [text] SQL of a Query or Parse
 * @property {string} [statement] the prepared statement that a Parse makes, a Bind uses, a Describe or Close names
 */
export function readMessage({ type, message, body }) {
  const fields = new Fields(body);
  const read = { type, message, body };
  switch (type) {
    case 'Q':
      read.text = fields.text();
      break;
    case 'P':
      read.statement = fields.text();
      read.text = fields.text();
      fields.oids();
      break;
    case 'B':
      fields.text();
      read.statement = fields.text();
      fields.codes();
      fields.values();
      fields.codes();
      break;
    case 'D':
    case 'C': {
      const kind = String.fromCharCode(fields.byte());
      const name = fields.text();
      if (kind !== 'S' && kind !== 'P') throw new ProtocolError(`invalid subtype of message "${type}"`);
      if (kind === 'S') read.statement = name;
      break;
    }
    case 'E':
      fields.text();
      fields.int32();
      break;
    case 'F':
      fields.int32();
      fields.codes();
      fields.values();
      fields.int16();
      break;
    case 'f':
      fields.text();
      break;
    case 'H':
    case 'S':
    case 'X':
    case 'c':
      break;
    case 'd':
      return read;
    default:
      throw new ProtocolError(`invalid frontend message type ${type.charCodeAt(0)}`);
  }
  fields.end();
  return read;
}
