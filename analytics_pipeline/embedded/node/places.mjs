/**
 * How many clients there may be, and how long one may take to log in.
 *
 * Only the owner reaches the socket; whoever runs a program on the machine reaches the TCP port. So places are
 * kept for the socket, and who has not logged in over TCP makes way for the next one.
 */

import { errorResponse } from './wire.mjs';

const MAX_CLIENTS = 200;
const MAX_TCP_CLIENTS = 100;
const MAX_TCP_LOGINS = 100;

export class Places {
  /** Not logged in yet, the oldest first. */
  #arriving = new Set();
  #seated = new Set();
  #loginSeconds;

  /** @param {number} loginSeconds how long a client may take to log in */
  constructor(loginSeconds) {
    this.#loginSeconds = loginSeconds;
  }

  /** Logged-in clients. */
  get count() {
    return this.#seated.size;
  }

  /** All connections. @returns {import('./client.mjs').Client[]} */
  all() {
    return [...this.#arriving, ...this.#seated];
  }

  /** @param {number} pid @returns {import('./client.mjs').Client | undefined} the logged-in client of this number */
  find(pid) {
    return [...this.#seated].find((client) => client.pid === pid);
  }

  /** A connection is there. */
  arrive(client) {
    if (client.tcp) {
      const others = [...this.#arriving].filter(({ tcp }) => tcp);
      if (others.length >= MAX_TCP_LOGINS) others[0].drop();
    }
    this.#arriving.add(client);
    client.deadline = setTimeout(() => {
      client.end(errorResponse('FATAL', '08P01', `terminating connection: no log-in within ${this.#loginSeconds} s`));
    }, this.#loginSeconds * 1000);
  }

  /** A client has logged in. @returns {boolean} whether there is a place for it */
  take(client) {
    const room = this.#seated.size < MAX_CLIENTS;
    const tcp = !client.tcp || [...this.#seated].filter((one) => one.tcp).length < MAX_TCP_CLIENTS;
    if (!room || !tcp) return false;
    clearTimeout(client.deadline);
    this.#arriving.delete(client);
    this.#seated.add(client);
    return true;
  }

  /** A connection is over. */
  leave(client) {
    clearTimeout(client.deadline);
    this.#arriving.delete(client);
    this.#seated.delete(client);
  }
}
