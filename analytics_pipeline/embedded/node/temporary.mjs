/**
 * Temporary objects of many clients in an engine that has one schema for them: those of a client that waits are moved
 * to a schema of its own, where nobody else finds them by their names.
 *
 * Moved in the catalogs: ALTER ... SET SCHEMA refuses temporary objects. The name of the schema makes the engine look
 * for their files where they are: it reads the number of the session behind `pg_temp_`, here 0, and no further.
 * PostgreSQL should refuse to read what lies in another session's schema, and 17.5 does so for indexes only. So what
 * holds rows goes for a composite type meanwhile, which can't be opened.
 */

import { literal } from './wire.mjs';

const OWN = 'pg_temp_0';
const OWN_TOAST = 'pg_toast_temp_0';
const ALLOWED = (sql) => `SET allow_system_table_mods = on; ${sql}; RESET allow_system_table_mods`;

/** Catalogs of what a schema can hold. */
const NAMESPACES = {
  pg_class: 'relnamespace',
  pg_type: 'typnamespace',
  pg_proc: 'pronamespace',
  pg_operator: 'oprnamespace',
  pg_opclass: 'opcnamespace',
  pg_opfamily: 'opfnamespace',
  pg_collation: 'collnamespace',
  pg_conversion: 'connamespace',
  pg_statistic_ext: 'stxnamespace',
  pg_ts_config: 'cfgnamespace',
  pg_ts_dict: 'dictnamespace',
  pg_ts_parser: 'prsnamespace',
  pg_ts_template: 'tmplnamespace',
};
/** Catalogs of what comes with tables and types, without a row of its own in pg_depend. */
const WITH_OTHERS = { pg_class: 'relnamespace', pg_type: 'typnamespace', pg_constraint: 'connamespace' };

const schemaOf = (session) => `${OWN}_${session}`;
const toastOf = (session) => `${OWN_TOAST}_${session}`;

/** Catalogs that hold temporary objects of the client whose turn it is: one row for each. */
export const KINDS = `
  SELECT DISTINCT c.relname FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class c ON c.oid = d.classid
  WHERE d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND d.refobjid = pg_catalog.pg_my_temp_schema()`;

/** Sessions that have left schemas behind because an engine did not survive them. */
export const LEFT_BEHIND = `
  SELECT substr(nspname, ${OWN.length + 2}) FROM pg_catalog.pg_namespace WHERE nspname ~ '^${OWN}_[0-9]+$'`;

/** @param {number} session its number */
export const makeSchema = (session) => ALLOWED(`CREATE SCHEMA ${schemaOf(session)}; CREATE SCHEMA ${toastOf(session)}`);

/** @param {number | string} session whose schemas go, with whatever is in them */
export const dropSchemas = (session) => {
  const schemas = [schemaOf(session), toastOf(session)];
  return `
    UPDATE pg_catalog.pg_class SET relkind = ${REAL_KIND} WHERE relnamespace IN (
      SELECT oid FROM pg_catalog.pg_namespace WHERE nspname IN (${schemas.map(literal)}));
    ${ALLOWED(`DROP SCHEMA IF EXISTS ${schemas} CASCADE`)}`;
};

/** @param {number} session @param {string[]} kinds */
export const putAway = (session, kinds) =>
  [move(OWN, schemaOf(session), kinds, HIDDEN_KIND), move(OWN_TOAST, toastOf(session), ['pg_class'], HIDDEN_KIND)].join(';');

/** @param {number} session @param {string[]} kinds */
export const putBack = (session, kinds) =>
  [move(schemaOf(session), OWN, kinds, REAL_KIND), move(toastOf(session), OWN_TOAST, ['pg_class'], REAL_KIND)].join(';');

/**
 * Tables, their TOAST tables and sequences. Not empty ones: those that are emptied ON COMMIT are opened for it whoever
 * commits.
 */
const HIDDEN_KIND = `
  CASE WHEN relkind IN ('r', 't', 'S') AND pg_catalog.pg_relation_size(oid) > 0 THEN 'c' ELSE relkind END`;

/** A composite type has no access method. Nor has a sequence, which is in a catalog of its own. */
const REAL_KIND = `
  CASE WHEN relkind <> 'c' THEN relkind
       WHEN relam <> 0 THEN CASE WHEN relname LIKE 'pg\\_toast\\_%' AND reltype = 0 THEN 't' ELSE 'r' END::"char"
       WHEN oid IN (SELECT seqrelid FROM pg_catalog.pg_sequence) THEN 'S'
       ELSE relkind END`;

function move(from, to, kinds, kind) {
  const oid = (schema) => `${literal(schema)}::pg_catalog.regnamespace`;
  const columns = { ...Object.fromEntries(kinds.map((catalog) => [catalog, NAMESPACES[catalog]])), ...WITH_OTHERS };
  return [
    ...Object.entries(columns).map(
      ([catalog, column]) =>
        `UPDATE pg_catalog.${catalog} SET ${column} = ${oid(to)}${catalog === 'pg_class' ? `, relkind = ${kind}` : ''}
          WHERE ${column} = ${oid(from)}`,
    ),
    `UPDATE pg_catalog.pg_depend SET refobjid = ${oid(to)}
      WHERE refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND refobjid = ${oid(from)}`,
  ].join(';');
}
