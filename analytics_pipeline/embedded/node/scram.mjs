/** The server's side of SCRAM-SHA-256 (RFC 5802, RFC 7677) for one known password. */

import { createHash, createHmac, pbkdf2Sync, randomBytes, timingSafeEqual } from 'node:crypto';

import { ProtocolError, cstring, int32, readCString } from './wire.mjs';

const MECHANISM = 'SCRAM-SHA-256';
const ITERATIONS = 4096;

const hmac = (key, text) => createHmac('sha256', key).update(text).digest();
const hash = (bytes) => createHash('sha256').update(bytes).digest();

export class ScramExchange {
  #salt = randomBytes(16);
  #salted;
  #step = 0;
  #nonce = '';
  #clientFirst = '';
  #serverFirst = '';

  /** @param {string} password */
  constructor(password) {
    this.#salted = pbkdf2Sync(password, this.#salt, ITERATIONS, 32, 'sha256');
  }

  /** Body of the request that names the mechanism. */
  mechanisms() {
    return Buffer.concat([int32(10), cstring(MECHANISM), Buffer.from([0])]);
  }

  /**
   * @param {Buffer} body of the client's message
   * @returns {{reply?: Buffer, done?: boolean, failed?: boolean}}
   */
  answer(body) {
    this.#step += 1;
    if (this.#step === 1) return this.#first(body);
    if (this.#step === 2) return this.#final(body.toString('utf8'));
    throw new ProtocolError('unexpected SASL message');
  }

  #first(body) {
    const [mechanism, behind] = readCString(body);
    const text = body.toString('utf8', behind + 4);
    const match = /^[ny],[^,]*,(n=[^,]*,r=([^,]+).*)$/s.exec(text);
    if (mechanism !== MECHANISM || !match) return { failed: true };
    this.#clientFirst = match[1];
    this.#nonce = match[2] + randomBytes(18).toString('base64');
    this.#serverFirst = `r=${this.#nonce},s=${this.#salt.toString('base64')},i=${ITERATIONS}`;
    return { reply: Buffer.concat([int32(11), Buffer.from(this.#serverFirst)]) };
  }

  #final(text) {
    const match = /^(c=[^,]*,r=([^,]+)),p=([A-Za-z0-9+/=]+)$/.exec(text);
    if (!match || match[2] !== this.#nonce) return { failed: true };
    const clientKey = hmac(this.#salted, 'Client Key');
    const signed = `${this.#clientFirst},${this.#serverFirst},${match[1]}`;
    const signature = hmac(hash(clientKey), signed);
    const proof = Buffer.from(match[3], 'base64');
    const expected = Buffer.from(clientKey.map((byte, index) => byte ^ signature[index]));
    if (proof.length !== expected.length || !timingSafeEqual(proof, expected)) return { failed: true };
    const verifier = hmac(hmac(this.#salted, 'Server Key'), signed).toString('base64');
    return { reply: Buffer.concat([int32(12), Buffer.from(`v=${verifier}`)]), done: true };
  }
}
