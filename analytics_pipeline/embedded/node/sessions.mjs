/**
 * Many sessions on the engine's one: what belongs to a client - settings, role, prepared
 * statements, temporary tables, LISTEN - is put away before another client's turn and put
 * back before its own.
 *
 * Nothing is put away that was not changed: a client which only reads and writes data costs
 * no extra statement.
 *
 * Not kept apart, because the engine offers no way: session-level advisory locks, currval() and
 * lastval() of sequences, and the names of cursors WITH HOLD.
 */

import { EngineError } from './engine.mjs';
import { ReplyScanner } from './replies.mjs';
import { SYNC, errorResponse, identifier, literal, readCString } from './wire.mjs';

/** Command tags after which the session may differ from what is known of it. */
const TELLING_TAGS = /^(SET|RESET|DISCARD|DO|CALL|PREPARE|DEALLOCATE|LOAD|CREATE EXTENSION)\b/;
const CHANGES_FUNCTIONS = /^(DO|CALL|(CREATE|ALTER|DROP) (FUNCTION|PROCEDURE|ROUTINE|SCHEMA|EXTENSION))\b/;
/** Words in a statement after which the same holds although its tag says nothing. */
const TELLING_TEXT = /set_config|temp|\bhold\b|pg_my_temp/i;
/** Statements that name prepared statements in SQL: all of the client's have to be there. */
const NAMES_STATEMENTS = /\b(execute|deallocate|discard|pg_prepared_statements)\b/i;
/** Candidates for settings of a client's own, such as app.tenant; pg_settings does not list them. */
const DOTTED_NAME = /[a-z_][a-z0-9_$]*\.[a-z_][a-z0-9_$]*/gi;
const MAX_OWN_SETTINGS = 500;
const LISTEN = /\b(un)?listen\s+("(?:[^"]|"")+"|[a-z_][\w$]*|\*)/gi;

/** Settings that end with their transaction, and one that is read before the others. */
const NOT_KEPT = ['transaction_isolation', 'transaction_read_only', 'transaction_deferrable', 'client_encoding'];

/**
 * Whether a function of the user's could change the session from inside: while there is one, no
 * client's SELECT is taken for harmless.
 */
const FUNCTIONS_THAT_TELL = `
  SELECT EXISTS (
    SELECT FROM pg_catalog.pg_proc p
    JOIN pg_catalog.pg_language l ON l.oid = p.prolang AND l.lanname NOT IN ('c', 'internal')
    JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace AND n.nspname NOT IN ('pg_catalog', 'information_schema')
    WHERE p.prosrc ~* '(set_config|\\mexecute\\M|\\mtemp|\\mhold\\M|(^|;|\\m(begin|then|else|loop)\\M)\\s*(set|reset|discard|prepare|deallocate|load)\\M)'
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                      WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'))`;

/** pg_class.relkind of what can be temporary, with the word to drop it by. */
const KINDS = { r: 'TABLE', p: 'TABLE', f: 'TABLE', v: 'VIEW', S: 'SEQUENCE', i: 'INDEX' };

/** All clients share one schema of temporary tables: another client's go by names nobody uses. */
const putAwayName = (oid) => `put away ${oid}`;

/** What the server knows of one client's session. */
export class SessionState {
  begun = false;
  /** The session may differ from what is recorded here. */
  suspect = false;
  /** @type {Map<string, string>} settings that differ from the start values */
  settings = new Map();
  /** @type {Set<string>} names of settings in the client's own name spaces */
  ownSettings = new Set();
  role = 'none';
  authorization = null;
  /** @type {Map<string, {parse?: Buffer, sql?: string}>} */
  statements = new Map();
  /** @type {Set<string>} the ones of `statements` that the engine holds now */
  present = new Set();
  /** @type {Map<string, {name: string, kind: string}>} temporary relations by oid */
  temporary = new Map();
  /** @type {Set<string>} */
  cursors = new Set();
  /** @type {Set<string>} */
  channels = new Set();

  /** @param {Map<string, string>} startup settings of the start-up packet */
  constructor(startup) {
    this.startup = startup;
  }
}

export class Sessions {
  #engine;
  /** @type {{session: SessionState} | null} the client whose session the engine holds */
  #loaded = null;
  #tellingFunctions = false;
  #functionsChanged = true;
  /** @type {Set<any>} clients that have begun a session */
  #clients = new Set();

  /** @param {import('./engine.mjs').Engine} engine */
  constructor(engine) {
    this.#engine = engine;
  }

  /** Makes the engine's session the client's; with null, the server's own. Between transactions only. */
  async switchTo(client) {
    if (this.#loaded === client) return;
    if (this.#loaded) await this.#clear(this.#loaded);
    this.#loaded = null;
    if (!client) return;
    this.#loaded = client;
    this.#clients.add(client);
    if (client.session.begun) await this.#putBack(client.session);
    else await this.#begin(client.session);
  }

  /** Before a batch: the engine gets the prepared statements the batch is going to use. */
  async provide(client, batch) {
    const { session } = client;
    const wanted = new Set();
    for (const { type, body, text } of batch.messages) {
      if (type === 'B') wanted.add(readCString(body, readCString(body)[1])[0]);
      else if (type === 'P') wanted.add(readCString(body)[0]);
      else if (type === 'D' && body[0] === 0x53) wanted.add(readCString(body, 1)[0]);
      if (text && NAMES_STATEMENTS.test(text)) for (const name of session.statements.keys()) wanted.add(name);
    }
    const missing = [...wanted].filter((name) => session.statements.get(name)?.parse && !session.present.has(name));
    if (!missing.length) return;
    for (const name of missing) session.present.add(name);
    await this.#run(Buffer.concat([...missing.map((name) => session.statements.get(name).parse), SYNC]));
  }

  /**
   * After a batch: what it may have changed is noted.
   *
   * @param {any} client
   * @param {{messages: {type: string, message: Buffer, body: Buffer, text?: string}[]}} batch
   * @param {ReplyScanner} reply
   */
  note(client, batch, reply) {
    const { session } = client;
    let parses = 0;
    for (const { type, message, body, text } of batch.messages) {
      if (type === 'Q') this.#forget(session, '');
      if (type === 'P' && parses < reply.parsed) {
        parses += 1;
        const name = readCString(body)[0];
        session.statements.set(name, { parse: Buffer.from(message) });
        session.present.add(name);
      }
      if (type === 'C' && body[0] === 0x53) this.#forget(session, readCString(body, 1)[0]);
      if (text) this.#readText(session, text);
      // set_config($1, $2, false): the name is among the parameters.
      if (type === 'B' && /set_config/i.test(textOf(session, body))) this.#readNames(session, body.toString('latin1'));
    }
    const toDefault = batch.messages.some(({ text }) => text && /\bdefault\b|\blocal\b/i.test(text));
    for (const tag of reply.tags) {
      if (TELLING_TAGS.test(tag)) session.suspect = true;
      if (CHANGES_FUNCTIONS.test(tag)) this.#functionsChanged = true;
      if (/^(DEALLOCATE ALL|DISCARD ALL)$/.test(tag)) {
        session.statements.clear();
        session.present.clear();
      }
      if (tag === 'DEALLOCATE') session.deallocated = true;
      if (/^(RESET|DISCARD ALL)$/.test(tag) || (tag === 'SET' && toDefault)) session.reset = true;
    }
    if (this.#tellingFunctions && reply.tags.length) session.suspect = true;
  }

  /** When a client's transaction is over: what waits for that is done. */
  async settle(client, batch, reply) {
    const { session } = client;
    if (session.deallocated) {
      session.deallocated = false;
      const [rows] = await this.#engine.query('SELECT name FROM pg_catalog.pg_prepared_statements');
      const names = new Set(rows.map(([name]) => name));
      for (const name of session.present) if (name !== '' && !names.has(name)) this.#forget(session, name);
    }
    if (session.reset) {
      session.reset = false;
      await this.#restart(session);
    }
    if (reply.tags.some((tag) => /LISTEN$|^DISCARD ALL$/.test(tag))) await this.#noteChannels(session, batch, reply);
  }

  /** @returns {any[]} the clients that listen on the channel */
  listeners(channel) {
    return [...this.#clients].filter(({ session }) => session.channels.has(channel));
  }

  /** A client has left: nothing of it stays. Between transactions only. */
  async leave(client) {
    if (!this.#clients.delete(client)) return;
    if (this.#clients.size === 0) {
      this.#loaded = null;
      await this.#tryEach(['RESET SESSION AUTHORIZATION', 'DISCARD ALL']);
      return;
    }
    const { session } = client;
    if (this.#loaded === client) await this.switchTo(null);
    const statements = [...session.temporary].map(
      ([oid, { kind }]) => `DROP ${KINDS[kind]} IF EXISTS pg_temp.${identifier(putAwayName(oid))} CASCADE`,
    );
    statements.push(...[...session.cursors].map((name) => `CLOSE ${identifier(name)}`));
    for (const channel of session.channels) {
      if (!this.listeners(channel).length) statements.push(`UNLISTEN ${identifier(channel)}`);
    }
    if (!statements.length) return;
    await this.switchTo(null);
    await this.#tryEach(statements);
  }

  async #run(bytes) {
    const reply = new ReplyScanner();
    await this.#engine.run(bytes, (chunk, size) => {
      reply.push(chunk);
      this.#engine.credit(size);
    });
    return reply;
  }

  #forget(session, name) {
    session.statements.delete(name);
    session.present.delete(name);
  }

  #readText(session, text) {
    if (TELLING_TEXT.test(text)) session.suspect = true;
    if (/\bset\b|set_config/i.test(text)) this.#readNames(session, text);
  }

  #readNames(session, text) {
    for (const [name] of text.slice(0, 100_000).matchAll(DOTTED_NAME)) {
      if (session.ownSettings.size < MAX_OWN_SETTINGS) session.ownSettings.add(name.toLowerCase());
    }
  }

  /** Start values of a new session: those of the database and role, then those of the start-up packet. */
  async #begin(session) {
    session.begun = true;
    const [rows] = await this.#engine.query(
      `SELECT split_part(c, '=', 1), substr(c, strpos(c, '=') + 1)
       FROM pg_catalog.pg_db_role_setting s, unnest(s.setconfig) c
       WHERE s.setdatabase IN (0, (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()))
         AND s.setrole IN (0, (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = session_user))
       ORDER BY s.setrole <> 0, s.setdatabase <> 0`,
    );
    await this.#tryEach(rows.map((row) => setConfig([row])));
    await this.#apply(session.startup);
    session.startup = new Map([...rows, ...session.startup]);
    session.settings = new Map(session.startup);
  }

  /** After RESET or DISCARD ALL: the session's start values hold again. */
  async #restart(session) {
    if (!session.startup.size) return;
    const names = [...session.startup.keys()];
    const [rows] = await this.#engine.query(
      `SELECT name FROM pg_catalog.pg_settings WHERE source = 'session' AND name IN (${names.map(literal)})`,
    );
    const still = new Set(rows.map(([name]) => name));
    await this.#tryEach([...session.startup].filter(([name]) => !still.has(name)).map((entry) => setConfig([entry])));
  }

  async #apply(settings) {
    if (settings.size) await this.#engine.query(setConfig([...settings]));
  }

  /** Puts a session away or, where the engine refuses, ends its client rather than let it leak. */
  async #clear(client) {
    try {
      await this.#putAway(client.session);
    } catch (error) {
      if (!(error instanceof EngineError)) throw error;
      client.end(errorResponse('FATAL', 'XX000', `the session can't be kept while others run: ${error.message}`));
      await this.#tryEach(['RESET SESSION AUTHORIZATION', 'RESET ROLE', 'RESET ALL', 'DEALLOCATE ALL']);
    }
  }

  async #putAway(session) {
    await this.#lookAtFunctions(session);
    if (session.suspect) await this.#probe(session);
    session.suspect = false;
    const resets = [];
    if (session.authorization) resets.push('RESET SESSION AUTHORIZATION');
    if (session.role !== 'none') resets.push('RESET ROLE');
    if (session.settings.size) resets.push('RESET ALL');
    // On its own: what follows shall not run under the client's default_transaction_read_only.
    if (resets.length) await this.#engine.query(resets.join(';'));
    const steps = [];
    if (session.present.size || [...session.statements.values()].some(({ sql }) => sql)) steps.push('DEALLOCATE ALL');
    for (const [oid, { name }] of session.temporary) {
      steps.push(`ALTER TABLE pg_temp.${identifier(name)} RENAME TO ${identifier(putAwayName(oid))}`);
    }
    session.present.clear();
    if (steps.length) await this.#engine.query(steps.join(';'));
  }

  async #lookAtFunctions(session) {
    if (!this.#functionsChanged) return;
    this.#functionsChanged = false;
    const [[[telling]]] = await this.#engine.query(FUNCTIONS_THAT_TELL);
    this.#tellingFunctions = telling === 't';
    if (this.#tellingFunctions) session.suspect = true;
  }

  /** Reads everything that differs from the start values; leaves the session without role. */
  async #probe(session) {
    const own = [...session.ownSettings];
    const results = await this.#engine.query(
      `SELECT pg_catalog.current_setting('role'), session_user, pg_catalog.current_setting('client_encoding');
       RESET SESSION AUTHORIZATION; RESET ROLE; SET client_encoding = 'UTF8';
       SELECT name, setting FROM pg_catalog.pg_settings
        WHERE source = 'session' AND name NOT IN (${NOT_KEPT.map(literal)});
       SELECT name, pg_catalog.current_setting(name, true) FROM pg_catalog.unnest(ARRAY[${own.map(literal)}]::text[]) name
        WHERE pg_catalog.current_setting(name, true) IS NOT NULL;
       SELECT name, statement FROM pg_catalog.pg_prepared_statements WHERE from_sql;
       SELECT c.oid, c.relname, c.relkind FROM pg_catalog.pg_class c
        WHERE c.relnamespace = pg_catalog.pg_my_temp_schema() AND pg_catalog.pg_my_temp_schema() <> 0
          AND c.relkind IN ('r', 'p', 'v', 'S', 'i', 'f') AND c.relname NOT LIKE 'put away %';
       SELECT name FROM pg_catalog.pg_cursors WHERE is_holdable`,
    );
    const [[[role, authorization, encoding]], settings, ownSettings, prepared, temporary, cursors] = results;
    session.role = role;
    session.authorization = authorization === 'postgres' ? null : authorization;
    session.settings = new Map([...settings, ...ownSettings]);
    if (encoding !== 'UTF8') session.settings.set('client_encoding', encoding);
    for (const [name, { sql }] of session.statements) if (sql) session.statements.delete(name);
    for (const [name, sql] of prepared) session.statements.set(name, { sql });
    session.temporary = new Map(temporary.map(([oid, name, kind]) => [oid, { name, kind }]));
    const foreign = new Set();
    for (const other of this.#clients) {
      if (other.session !== session) for (const name of other.session.cursors) foreign.add(name);
    }
    session.cursors = new Set(cursors.map(([name]) => name).filter((name) => !foreign.has(name)));
  }

  async #putBack(session) {
    await this.#tryEach(
      [...session.temporary].map(
        ([oid, { name }]) => `ALTER TABLE pg_temp.${identifier(putAwayName(oid))} RENAME TO ${identifier(name)}`,
      ),
    );
    await this.#apply(session.settings);
    // A client with temporary tables may create more under any name it has for them.
    if (session.temporary.size || session.cursors.size) session.suspect = true;
    const steps = [...session.statements.values()].flatMap(({ sql }) => sql ?? []);
    if (session.authorization) steps.push(`SET SESSION AUTHORIZATION ${identifier(session.authorization)}`);
    if (session.role !== 'none') steps.push(`SET ROLE ${identifier(session.role)}`);
    await this.#tryEach(steps);
  }

  /** What a statement names may be gone meanwhile, dropped by another client as on any server. */
  async #tryEach(statements) {
    for (const statement of statements) {
      try {
        await this.#engine.query(statement);
      } catch (error) {
        if (!(error instanceof EngineError)) throw error;
      }
    }
  }

  async #noteChannels(session, batch, reply) {
    const texts = batch.messages.flatMap(({ type, body, text }) =>
      text ? [text] : type === 'B' ? [textOf(session, body)] : [],
    );
    if (reply.tags.includes('DISCARD ALL')) session.channels.clear();
    for (const [, un, name] of texts.join(';').matchAll(LISTEN)) {
      const channel = name.startsWith('"') ? name.slice(1, -1).replaceAll('""', '"') : name.toLowerCase();
      if (!un) session.channels.add(channel);
      else if (channel === '*') session.channels.clear();
      else session.channels.delete(channel);
    }
    // The engine listens for all clients together: an UNLISTEN of one must not silence another.
    const all = new Set([...this.#clients].flatMap((client) => [...client.session.channels]));
    const steps = ['UNLISTEN *', ...[...all].map((channel) => `LISTEN ${identifier(channel)}`)];
    await this.#engine.query(steps.join(';'));
  }
}

/** @param {[string, string][]} settings */
const setConfig = (settings) =>
  `SELECT ${settings.map(([name, value]) => `pg_catalog.set_config(${literal(name)},${literal(value)}, false)`)}`;

function textOf(session, bindBody) {
  const name = readCString(bindBody, readCString(bindBody)[1])[0];
  const parse = session.statements.get(name)?.parse;
  return parse ? readCString(parse, readCString(parse, 5)[1])[0] : '';
}
