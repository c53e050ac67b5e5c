/** Statements that the embedded server takes from no client, because clients could not be kept apart. */

import { cstring, message } from './wire.mjs';

/** A cursor that outlives its transaction could be read by every other client: the engine has one session. */
const HELD_CURSOR = /\bdeclare\b.*\bcursor\s+with\s+hold\b/is;
/** What may say the same without meaning it. */
const LITERALS = /'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|\/\*.*?\*\/|\$(\w*)\$.*?\$\1\$/gs;
/** Longer texts are not looked at: what they declare is closed when another client's turn comes. */
const LOOKED_AT = 10_000;

const REFUSAL = `DO $$BEGIN RAISE EXCEPTION USING ERRCODE = 'feature_not_supported',
  MESSAGE = 'cursors WITH HOLD are not available on the embedded TimescaleDB',
  HINT = 'Declare the cursor without it and read it within the transaction, or read the rows into a temporary table.'; END$$`;

/**
 * @param {import('./messages.mjs').Message} read
 * @returns {import('./messages.mjs').Message} the same, or with SQL that answers why it is refused
 */
export function refuseWhatLeaks(read) {
  const { type, text, statement } = read;
  if (!text || text.length > LOOKED_AT || !/\bhold\b/i.test(text) || !HELD_CURSOR.test(text.replace(LITERALS, ' '))) return read;
  const refused =
    type === 'Q' ? message('Q', cstring(REFUSAL)) : message('P', cstring(statement), cstring(REFUSAL), Buffer.alloc(2));
  return { ...read, message: refused, body: refused.subarray(5), text: REFUSAL };
}
