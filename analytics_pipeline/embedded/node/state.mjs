/** What the server is doing, in a file that `status` reads; replaced whole, never half-written. */

import fs from 'node:fs';

export class StateFile {
  #path;
  #state;
  #written = '';

  /** @param {string} path @param {Record<string, unknown>} initial */
  constructor(path, initial) {
    this.#path = path;
    this.#state = initial;
    this.writeNow({});
  }

  /** @param {Record<string, unknown>} changes */
  writeNow(changes) {
    Object.assign(this.#state, changes);
    const text = JSON.stringify(this.#state, null, 2);
    if (text === this.#written) return;
    fs.writeFileSync(`${this.#path}.new`, text, { mode: 0o600 });
    fs.renameSync(`${this.#path}.new`, this.#path);
    this.#written = text;
  }

  /** Like `writeNow`, but a disk that is full does not end the server. @param {Record<string, unknown>} changes */
  update(changes) {
    try {
      this.writeNow(changes);
    } catch {
      // Shown again with the next change.
    }
  }
}
