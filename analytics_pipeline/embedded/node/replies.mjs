/**
 * Reads along in what the engine answers: enough to know whether a transaction is open,
 * which commands ran and whom a notification is for, without holding results back.
 */

import { dataRow, errorFields, errorResponse, readCString } from './wire.mjs';

/** Types whose content matters; of all others only the length is read. */
const READ_ALONG = new Set(['C', 'Z', 'A', 'E', '1', 'G']);

export const COPY_REFUSAL = {
  sqlstate: '0A000',
  text: 'COPY ... FROM STDIN is not available on the embedded TimescaleDB',
  hint: 'Insert sets of rows instead, for example INSERT ... SELECT ... FROM jsonb_to_recordset($1).',
};

export class ReplyScanner {
  #keepRows;
  #carry = null;
  #skip = 0;
  #copyIn = false;
  /** @type {'I' | 'T' | 'E' | null} transaction status of the last ReadyForQuery */
  status = null;
  /** @type {string[]} */
  tags = [];
  /** How many Parse messages succeeded. */
  parsed = 0;
  /** @type {Record<string, string> | null} the first error */
  error = null;
  /** @type {{channel: string, message: Buffer}[]} */
  notifications = [];
  /** @type {(string | null)[][][]} rows of each statement that returns any, with `keepRows` */
  results = [];
  #rows = null;

  /** @param {{keepRows?: boolean}} [options] */
  constructor({ keepRows = false } = {}) {
    this.#keepRows = keepRows;
  }

  /** Whether what the client has seen ends within a message. */
  get withinMessage() {
    return this.#skip > 0;
  }

  /**
   * @param {Buffer} chunk
   * @returns {Buffer[]} what the client is to see of it, notifications taken out
   */
  push(chunk) {
    const data = this.#carry ? Buffer.concat([this.#carry, chunk]) : chunk;
    this.#carry = null;
    const forward = [];
    let start = 0;
    let at = 0;
    while (at < data.length) {
      if (this.#skip > 0) {
        const step = Math.min(this.#skip, data.length - at);
        at += step;
        this.#skip -= step;
        continue;
      }
      if (data.length - at < 5) break;
      const type = String.fromCharCode(data[at]);
      const total = data.readInt32BE(at + 1) + 1;
      if (!READ_ALONG.has(type) && !this.#keepRows) {
        this.#skip = total;
        continue;
      }
      if (data.length - at < total) break;
      const whole = data.subarray(at, at + total);
      const shown = this.#read(type, whole, whole.subarray(5));
      if (shown !== whole) {
        if (at > start) forward.push(data.subarray(start, at));
        if (shown) forward.push(shown);
        start = at + total;
      }
      at += total;
    }
    if (at > start) forward.push(data.subarray(start, at));
    if (at < data.length) this.#carry = data.subarray(at);
    return forward;
  }

  /** @returns {Buffer | null} the message as the client is to see it */
  #read(type, whole, body) {
    switch (type) {
      case 'C':
        this.tags.push(readCString(body)[0]);
        if (this.#rows) this.results.push(this.#rows);
        this.#rows = null;
        break;
      case 'T':
        if (this.#keepRows) this.#rows = [];
        break;
      case 'D':
        this.#rows?.push(dataRow(body));
        break;
      case 'Z':
        this.status = String.fromCharCode(body[0]);
        break;
      case '1':
        this.parsed += 1;
        break;
      case 'A':
        this.notifications.push({ channel: readCString(body, 4)[0], message: Buffer.from(whole) });
        return null;
      case 'G':
        this.#copyIn = true;
        return null;
      case 'E': {
        this.error ??= errorFields(body);
        if (!this.#copyIn) break;
        this.#copyIn = false;
        return errorResponse('ERROR', COPY_REFUSAL.sqlstate, COPY_REFUSAL.text, COPY_REFUSAL.hint);
      }
    }
    return whole;
  }
}
