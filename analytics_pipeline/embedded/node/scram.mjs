/** The server's side of SCRAM-SHA-256 (RFC 5802, RFC 7677) for one known password. */

import { createHash, createHmac, pbkdf2Sync, randomBytes, timingSafeEqual } from 'node:crypto';

import { readSaslStart } from './messages.mjs';
import { ProtocolError, cstring, int32 } from './wire.mjs';

const MECHANISM = 'SCRAM-SHA-256';
const ITERATIONS = 4096;

const hmac = (key, text) => createHmac('sha256', key).update(text).digest();
const hash = (bytes) => createHash('sha256').update(bytes).digest();

/** What the password is checked with: computed once, because it is slow on purpose and anybody may ask for it. */
export class ScramVerifier {
  salt = randomBytes(16).toString('base64');

  /** @param {string} password */
  constructor(password) {
    const salted = pbkdf2Sync(password, Buffer.from(this.salt, 'base64'), ITERATIONS, 32, 'sha256');
    this.storedKey = hash(hmac(salted, 'Client Key'));
    this.serverKey = hmac(salted, 'Server Key');
  }
}

export class ScramExchange {
  #verifier;
  #step = 0;
  #nonce = '';
  #clientFirst = '';
  #serverFirst = '';

  /** @param {ScramVerifier} verifier */
  constructor(verifier) {
    this.#verifier = verifier;
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
    const { mechanism, data } = readSaslStart(body);
    const match = /^[ny],[^,]*,(n=[^,]*,r=([^,]+).*)$/s.exec(data);
    if (mechanism !== MECHANISM || !match) return { failed: true };
    this.#clientFirst = match[1];
    this.#nonce = match[2] + randomBytes(18).toString('base64');
    this.#serverFirst = `r=${this.#nonce},s=${this.#verifier.salt},i=${ITERATIONS}`;
    return { reply: Buffer.concat([int32(11), Buffer.from(this.#serverFirst)]) };
  }

  #final(text) {
    const match = /^(c=[^,]*,r=([^,]+)),p=([A-Za-z0-9+/=]+)$/.exec(text);
    if (!match || match[2] !== this.#nonce) return { failed: true };
    const signed = `${this.#clientFirst},${this.#serverFirst},${match[1]}`;
    const signature = hmac(this.#verifier.storedKey, signed);
    const proof = Buffer.from(match[3], 'base64');
    if (proof.length !== signature.length) return { failed: true };
    const clientKey = Buffer.from(proof.map((byte, index) => byte ^ signature[index]));
    if (!timingSafeEqual(hash(clientKey), this.#verifier.storedKey)) return { failed: true };
    const signedBack = hmac(this.#verifier.serverKey, signed).toString('base64');
    return { reply: Buffer.concat([int32(12), Buffer.from(`v=${signedBack}`)]), done: true };
  }
}
