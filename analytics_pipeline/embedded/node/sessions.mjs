/**
 * Many sessions on the engine's one: what belongs to a client - settings, role, prepared
 * statements, temporary objects, LISTEN - is stored before another client's turn and put
 * back before its own.
 *
 * Whatever a client may have changed is reset when its turn ends. What it has changed is read, to be put back, only
 * where something tells of a change: a client which only reads and writes data costs one statement.
 *
 * Not kept apart, because the engine offers no way: session-level advisory locks, which everybody is granted. Refused
 * for the same reason: cursors WITH HOLD, and currval() and lastval() of another turn.
 */

import { EngineError } from './engine.mjs';
import * as temporary from './temporary.mjs';
import { FLUSH, SYNC, errorResponse, identifier, literal } from './wire.mjs';

/** Command tags after which the session may differ from what is known of it. */
const TELLING_TAGS = /^(SET|RESET|DISCARD|DO|CALL|PREPARE|DEALLOCATE|LOAD|CREATE EXTENSION)\b/;
const CHANGES_EXPRESSIONS =
  /^(DO|CALL|(CREATE|ALTER|DROP) (FUNCTION|PROCEDURE|ROUTINE|SCHEMA|EXTENSION|VIEW|MATERIALIZED VIEW|RULE|POLICY|TRIGGER|TABLE))\b/;
/** Words in a statement after which the same holds although its tag says nothing. */
const TELLING_TEXT = /set_config|pg_settings|\bexecute\b|\bu&"/i;
/** Statements that name prepared statements in SQL: all of the client's have to be there. */
const NAMES_STATEMENTS = /\b(execute|deallocate|discard|pg_prepared_statements)\b/i;
/** Candidates for settings of a client's own, such as app.tenant; pg_settings does not list them. */
const DOTTED_NAME = /[a-z_][a-z0-9_$]*\.[a-z_][a-z0-9_$]*/gi;
const MAX_OWN_SETTINGS = 500;
const LISTEN = /\b(un)?listen\s+("(?:[^"]|"")+"|[a-z_][\w$]*|\*)/gi;

/** What no client leaves to the next one. */
const RESET = `RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL; DEALLOCATE ALL; CLOSE ALL; DISCARD SEQUENCES`;

/** Settings that end with their transaction, and one that is read before the others. */
const NOT_KEPT = ['transaction_isolation', 'transaction_read_only', 'transaction_deferrable', 'client_encoding'];

/**
 * Whether an expression of the user's - in a function, a view, a default, a policy - could change the session from
 * inside: while there is one, no client's SELECT is taken for harmless. The number is set_config()'s.
 */
const EXPRESSIONS_THAT_TELL = `
  SELECT EXISTS (
    SELECT FROM pg_catalog.pg_proc p
    JOIN pg_catalog.pg_language l ON l.oid = p.prolang AND l.lanname NOT IN ('c', 'internal')
    JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace AND n.nspname NOT IN ('pg_catalog', 'information_schema')
    WHERE (p.prosrc ~* '(set_config|pg_settings|\\mexecute\\M|(^|;|\\m(begin|then|else|loop)\\M)\\s*(set|reset|discard|prepare|deallocate|load)\\M)'
           OR p.prosqlbody::text LIKE '%:funcid 2078 %')
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                      WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'))
    OR EXISTS (SELECT FROM pg_catalog.pg_rewrite
               WHERE oid >= 16384 AND (ev_action::text LIKE '%:funcid 2078 %' OR ev_qual::text LIKE '%:funcid 2078 %'
                 OR ev_action::text LIKE '%:relid ' || 'pg_catalog.pg_settings'::regclass::oid || ' %'))
    OR EXISTS (SELECT FROM pg_catalog.pg_attrdef WHERE adbin::text LIKE '%:funcid 2078 %')
    OR EXISTS (SELECT FROM pg_catalog.pg_constraint WHERE conbin::text LIKE '%:funcid 2078 %')
    OR EXISTS (SELECT FROM pg_catalog.pg_policy
               WHERE polqual::text LIKE '%:funcid 2078 %' OR polwithcheck::text LIKE '%:funcid 2078 %')
    OR EXISTS (SELECT FROM pg_catalog.pg_trigger WHERE tgqual::text LIKE '%:funcid 2078 %')`;

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
  /** @type {Map<string, {parse?: Buffer, text?: string, sql?: string}>} */
  statements = new Map();
  /** @type {Set<string>} the ones of `statements` that the engine holds now */
  present = new Set();
  /** @type {string[]} catalogs of the temporary objects that are stored */
  temporary = [];
  /** It has a schema to put them away in. */
  schema = false;
  /** The last batch ended without a Sync. */
  midway = false;
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
  #tellingExpressions = false;
  #expressionsChanged = true;
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
    if (client.session.begun) await this.#putBack(client);
    else await this.#begin(client.session);
  }

  /** Before a batch: the engine gets the prepared statements the batch is going to use. */
  async provide(client, batch) {
    const { session } = client;
    const wanted = new Set();
    for (const { statement, text } of batch.messages) {
      if (statement !== undefined) wanted.add(statement);
      if (text && NAMES_STATEMENTS.test(text)) for (const name of session.statements.keys()) wanted.add(name);
    }
    const missing = [...wanted].filter((name) => session.statements.get(name)?.parse && !session.present.has(name));
    if (!missing.length) return;
    for (const name of missing) session.present.add(name);
    // A Sync in the middle of a pipeline would commit its first half.
    const last = session.midway ? FLUSH.message : SYNC;
    const reply = await this.#engine.ask(Buffer.concat([...missing.map((name) => session.statements.get(name).parse), last]));
    if (session.midway && reply.error) client.send([errorResponse('ERROR', reply.error.C, reply.error.M)], () => {});
  }

  /**
   * After a batch: what it may have changed is noted.
   *
   * @param {any} client
   * @param {{messages: import('./messages.mjs').Message[]}} batch
   * @param {import('./replies.mjs').ReplyScanner} reply
   */
  note(client, batch, reply) {
    const { session } = client;
    session.midway = !reply.status;
    let parses = 0;
    for (const { type, message, body, text, statement } of batch.messages) {
      if (type === 'Q') this.#forget(session, '');
      if (type === 'P' && parses < reply.parsed) {
        parses += 1;
        session.statements.set(statement, { parse: Buffer.from(message), text });
        session.present.add(statement);
      }
      if (type === 'C' && statement !== undefined) this.#forget(session, statement);
      if (text) this.#readText(session, text);
      if (type === 'B') {
        const bound = session.statements.get(statement)?.text ?? '';
        if (TELLING_TEXT.test(bound)) session.suspect = true;
        // set_config($1, $2, false): the name is among the parameters.
        if (/set_config/i.test(bound)) this.#readNames(session, body.toString('latin1'));
      }
    }
    const toDefault = batch.messages.some(({ text }) => text && /\bdefault\b|\blocal\b/i.test(text));
    for (const tag of reply.tags) {
      if (TELLING_TAGS.test(tag)) session.suspect = true;
      if (CHANGES_EXPRESSIONS.test(tag)) this.#expressionsChanged = true;
      if (/^(DEALLOCATE ALL|DISCARD ALL)$/.test(tag)) {
        session.statements.clear();
        session.present.clear();
      }
      if (tag === 'DEALLOCATE') session.deallocated = true;
      if (/^(RESET|DISCARD ALL)$/.test(tag) || (tag === 'SET' && toDefault)) session.reset = true;
    }
    if (this.#tellingExpressions && reply.tags.length) session.suspect = true;
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
    const { session } = client;
    const loaded = this.#loaded === client;
    if (loaded) this.#loaded = null;
    else if (session.schema) await this.switchTo(null);
    if (!loaded && session.temporary.length) await this.#tryEach([temporary.putBack(client.pid, session.temporary)]);
    if (loaded || session.schema) await this.#tryEach([RESET, 'DISCARD TEMP']);
    if (session.schema) await this.#tryEach([temporary.dropSchemas(client.pid)]);
    // Session-level advisory locks are everybody's until nobody is left.
    if (this.#clients.size === 0) await this.#tryEach(['DISCARD ALL']);
    else if (session.channels.size) await this.#listen();
  }

  /**
   * The engine is a new one: nothing of a session is in it but what is put back.
   *
   * @returns {Promise<any[]>} clients that have lost temporary objects
   */
  async renew() {
    this.#loaded = null;
    this.#expressionsChanged = true;
    const [left] = await this.#engine.query(temporary.LEFT_BEHIND);
    await this.#tryEach(left.map(([session]) => temporary.dropSchemas(session)));
    const lost = [];
    for (const client of this.#clients) {
      const { session } = client;
      session.present.clear();
      if (session.temporary.length) lost.push(client);
      session.temporary = [];
      session.schema = false;
    }
    await this.#listen();
    return lost;
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
      await this.#putAway(client);
    } catch (error) {
      if (!(error instanceof EngineError)) throw error;
      client.end(errorResponse('FATAL', 'XX000', `the session can't be kept while others run: ${error.message}`));
      await this.#tryEach([RESET, 'DISCARD TEMP']);
    }
  }

  async #putAway(client) {
    const { session } = client;
    await this.#lookAtExpressions(session);
    if (session.suspect) await this.#probe(session);
    session.suspect = false;
    session.present.clear();
    // A simple query, so that the statement without a name goes with the others.
    const [kinds] = await this.#engine.query(`${RESET}; ${temporary.KINDS}`);
    session.temporary = kinds.map(([kind]) => kind);
    if (!kinds.length) return;
    if (!session.schema) await this.#engine.query(temporary.makeSchema(client.pid));
    session.schema = true;
    await this.#engine.query(temporary.putAway(client.pid, session.temporary));
  }

  async #lookAtExpressions(session) {
    if (!this.#expressionsChanged) return;
    this.#expressionsChanged = false;
    const [[[found]]] = await this.#engine.query(EXPRESSIONS_THAT_TELL);
    this.#tellingExpressions = found === 't';
    if (this.#tellingExpressions) session.suspect = true;
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
       SELECT name, statement FROM pg_catalog.pg_prepared_statements WHERE from_sql`,
    );
    const [[[role, authorization, encoding]], settings, ownSettings, prepared] = results;
    session.role = role;
    session.authorization = authorization === 'postgres' ? null : authorization;
    session.settings = new Map([...settings, ...ownSettings]);
    if (encoding !== 'UTF8') session.settings.set('client_encoding', encoding);
    for (const [name, { sql }] of session.statements) if (sql) session.statements.delete(name);
    for (const [name, sql] of prepared) session.statements.set(name, { sql });
  }

  async #putBack(client) {
    const { session } = client;
    if (session.temporary.length) await this.#engine.query(temporary.putBack(client.pid, session.temporary));
    session.temporary = [];
    await this.#apply(session.settings);
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
    const texts = batch.messages.flatMap(({ type, text, statement }) =>
      text ? [text] : type === 'B' ? [session.statements.get(statement)?.text ?? ''] : [],
    );
    if (reply.tags.includes('DISCARD ALL')) session.channels.clear();
    for (const [, un, name] of texts.join(';').matchAll(LISTEN)) {
      const channel = name.startsWith('"') ? name.slice(1, -1).replaceAll('""', '"') : name.toLowerCase();
      if (!un) session.channels.add(channel);
      else if (channel === '*') session.channels.clear();
      else session.channels.delete(channel);
    }
    await this.#listen();
  }

  /** The engine listens for all clients together: an UNLISTEN of one must not silence another. */
  async #listen() {
    const all = new Set([...this.#clients].flatMap((client) => [...client.session.channels]));
    const steps = ['UNLISTEN *', ...[...all].map((channel) => `LISTEN ${identifier(channel)}`)];
    await this.#engine.query(steps.join(';'));
  }
}

/** @param {[string, string][]} settings */
const setConfig = (settings) =>
  `SELECT ${settings.map(([name, value]) => `pg_catalog.set_config(${literal(name)},${literal(value)}, false)`)}`;
