/** The PostgreSQL v3 wire protocol: framing and message builders. */

export const SSL_REQUEST = 80877103;
export const GSSENC_REQUEST = 80877104;
export const CANCEL_REQUEST = 80877102;
export const PROTOCOL_3_0 = 196608;
/** Of the key that a client is given, and a request to cancel names. */
export const SECRET_BYTES = 4;

/** Largest message taken from a client: the engine's whole memory is 2 GiB. */
export const MAX_MESSAGE_BYTES = 256 * 1024 * 1024;
/** All that anybody may send who has not logged in yet. */
export const MAX_LOGIN_BYTES = 8 * 1024;

/** A message that does not keep to the protocol; the connection can't go on. */
export class ProtocolError extends Error {
  /** @param {string} message @param {string} [sqlstate] */
  constructor(message, sqlstate = '08P01') {
    super(message);
    this.sqlstate = sqlstate;
  }
}

/** A message that is as it should be, but for its size. */
export class TooLargeError extends ProtocolError {
  hint = 'Send less with one statement: smaller batches, shorter values.';

  /** @param {string} type @param {number} size @param {number} limit @param {number} missing bytes that are to come */
  constructor(type, size, limit, missing) {
    super(`a message of ${size} bytes is larger than the ${limit} that the embedded TimescaleDB takes`, '54000');
    this.type = type;
    this.missing = missing;
  }
}

/**
 * Cuts a byte stream into protocol messages.
 *
 * Start-up packets have no type byte; `next()` gives them with type ''.
 */
export class MessageReader {
  #chunks = [];
  #length = 0;
  startup = true;
  /** The largest message taken; less before the log-in. */
  limit = MAX_LOGIN_BYTES;

  /** @param {Buffer} chunk */
  push(chunk) {
    this.#chunks.push(chunk);
    this.#length += chunk.length;
  }

  /** @returns {{type: string, message: Buffer, body: Buffer} | null} */
  next() {
    const header = this.startup ? 4 : 5;
    if (this.#length < header) return null;
    const head = this.#peek(header);
    const size = head.readUInt32BE(header - 4);
    if (size < 4) throw new ProtocolError(`invalid message length ${size}`);
    const total = header - 4 + size;
    if (size > this.limit) {
      if (this.limit === MAX_LOGIN_BYTES) throw new ProtocolError(`invalid message length ${size} before the log-in`);
      throw new TooLargeError(String.fromCharCode(head[0]), size, this.limit, total - this.#length);
    }
    if (this.#length < total) return null;
    const message = this.#take(total);
    return {
      type: this.startup ? '' : String.fromCharCode(message[0]),
      message,
      body: message.subarray(header),
    };
  }

  #peek(count) {
    if (this.#chunks[0].length < count) this.#chunks = [Buffer.concat(this.#chunks)];
    return this.#chunks[0];
  }

  #take(count) {
    let first = this.#chunks[0];
    if (first.length < count) {
      first = Buffer.concat(this.#chunks);
      this.#chunks = [first];
    }
    if (first.length === count) this.#chunks.shift();
    else this.#chunks[0] = first.subarray(count);
    this.#length -= count;
    return first.subarray(0, count);
  }
}

/** @param {string} type @param {...Buffer} parts */
export function message(type, ...parts) {
  const size = parts.reduce((sum, part) => sum + part.length, 4);
  const head = Buffer.alloc(5);
  head.write(type, 'latin1');
  head.writeInt32BE(size, 1);
  return Buffer.concat([head, ...parts]);
}

/** @param {string} text */
export const cstring = (text) => Buffer.from(`${text}\0`);

/** @param {number} value */
export function int32(value) {
  const buffer = Buffer.alloc(4);
  buffer.writeInt32BE(value);
  return buffer;
}

/** @param {Buffer} buffer @param {number} [offset] @returns {[string, number]} text and the offset behind it */
export function readCString(buffer, offset = 0) {
  const end = buffer.indexOf(0, offset);
  if (end < 0) throw new ProtocolError('unterminated string in message');
  return [buffer.toString('utf8', offset, end), end + 1];
}

/** @param {string} sql */
export const query = (sql) => message('Q', cstring(sql));
export const SYNC = message('S');
export const FLUSH = { type: 'H', message: message('H'), body: Buffer.alloc(0) };
export const authenticationOk = () => message('R', int32(0));

/** @param {'I' | 'T' | 'E'} status */
export const readyForQuery = (status) => message('Z', Buffer.from(status));

/** @param {string} name @param {string} value */
export const parameterStatus = (name, value) => message('S', cstring(name), cstring(value));

/** @param {number} pid @param {Buffer} secret */
export const backendKeyData = (pid, secret) => message('K', int32(pid), secret);

/** @param {string[]} unknown names of protocol options that are not understood */
export const negotiateProtocol = (unknown) =>
  message('v', int32(PROTOCOL_3_0), int32(unknown.length), ...unknown.map(cstring));

/**
 * @param {'ERROR' | 'FATAL'} severity
 * @param {string} sqlstate
 * @param {string} text
 * @param {string} [hint]
 */
export function errorResponse(severity, sqlstate, text, hint) {
  const field = (code, value) => Buffer.concat([Buffer.from(code), cstring(value)]);
  const fields = [field('S', severity), field('V', severity), field('C', sqlstate), field('M', text)];
  if (hint) fields.push(field('H', hint));
  return message('E', ...fields, Buffer.from([0]));
}

/** @param {Buffer} body of an ErrorResponse @returns {Record<string, string>} its fields by code */
export function errorFields(body) {
  const fields = {};
  let offset = 0;
  while (offset < body.length && body[offset] !== 0) {
    const code = String.fromCharCode(body[offset]);
    [fields[code], offset] = readCString(body, offset + 1);
  }
  return fields;
}

/** @param {Buffer} body of a DataRow @returns {(string | null)[]} */
export function dataRow(body) {
  const values = [];
  let offset = 2;
  for (let column = body.readInt16BE(0); column > 0; column -= 1) {
    const size = body.readInt32BE(offset);
    offset += 4;
    values.push(size < 0 ? null : body.toString('utf8', offset, offset + size));
    offset += Math.max(size, 0);
  }
  return values;
}

/** @param {string} text as an SQL literal, whatever standard_conforming_strings and backslash_quote say */
export const literal = (text) => ` E'${text.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`;

/** @param {string} name as an SQL identifier */
export const identifier = (name) => `"${name.replaceAll('"', '""')}"`;
