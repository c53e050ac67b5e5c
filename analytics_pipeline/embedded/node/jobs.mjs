/**
 * TimescaleDB's policies without its background workers: jobs that are due are run here, and how
 * each run ended is kept in the table analytics_job_runs, because run_job() leaves job_stats alone.
 */

import { EngineCrash, EngineError } from './engine.mjs';
import { literal } from './wire.mjs';

const READY = `
  SELECT to_regclass('public.analytics_job_runs') IS NOT NULL
     AND EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'timescaledb')`;

/**
 * Due, by TimescaleDB's own rules: never before initial_start or next_start; after a success at the
 * next slot of a fixed schedule, or one interval after the end; after a failure when retry_period,
 * doubled with each failure in a row and never more than the interval, is over. Jobs below 1000 are
 * TimescaleDB's own (telemetry, log retention).
 */
const DUE = `
  WITH runs AS (
    SELECT DISTINCT ON (job_id) job_id, started_at, coalesce(finished_at, started_at) AS finished_at, succeeded
    FROM public.analytics_job_runs ORDER BY job_id, started_at DESC, run_id DESC
  ), failures AS (
    SELECT r.job_id, count(*) AS in_a_row FROM public.analytics_job_runs r
    WHERE r.succeeded IS NOT TRUE
      AND r.started_at > coalesce((SELECT max(started_at) FROM public.analytics_job_runs s
                                   WHERE s.job_id = r.job_id AND s.succeeded), '-infinity')
    GROUP BY r.job_id
  )
  SELECT j.job_id, j.proc_name,
         coalesce(c.view_schema || '.' || c.view_name, j.hypertable_schema || '.' || j.hypertable_name, '')
  FROM timescaledb_information.jobs j
  LEFT JOIN timescaledb_information.continuous_aggregates c
    ON (c.materialization_hypertable_schema, c.materialization_hypertable_name) = (j.hypertable_schema, j.hypertable_name)
    OR (c.view_schema, c.view_name) = (j.hypertable_schema, j.hypertable_name)
  LEFT JOIN runs r USING (job_id)
  LEFT JOIN failures f USING (job_id)
  WHERE j.job_id >= 1000 AND j.scheduled
    AND coalesce(j.initial_start, '-infinity') <= now()
    AND (r.job_id IS NOT NULL AND r.started_at >= j.next_start OR coalesce(j.next_start, '-infinity') <= now())
    AND CASE
          WHEN r.job_id IS NULL THEN true
          WHEN r.succeeded IS NOT TRUE THEN
            r.finished_at + least(j.retry_period * (2 ^ least(f.in_a_row - 1, 20)), j.schedule_interval) <= now()
          WHEN j.fixed_schedule AND j.initial_start IS NOT NULL AND extract(year FROM j.schedule_interval) = 0
               AND extract(month FROM j.schedule_interval) = 0 THEN
            time_bucket(j.schedule_interval, r.started_at, j.initial_start) + j.schedule_interval <= now()
          WHEN j.fixed_schedule THEN r.started_at + j.schedule_interval <= now()
          ELSE r.finished_at + j.schedule_interval <= now()
        END
  ORDER BY r.finished_at NULLS FIRST, j.job_id`;

/** A run that the server did not survive counts as a failure, or it would be tried again at once. */
const CLOSE_UNFINISHED = `
  UPDATE public.analytics_job_runs SET finished_at = now(), succeeded = false, error = 'the server stopped during the run'
  WHERE finished_at IS NULL`;

const FORGET_OLD = `DELETE FROM public.analytics_job_runs WHERE started_at < now() - interval '90 days'`;

export class JobRunner {
  #engine;
  #arbiter;
  #log;
  #checkedUnfinished = false;
  #scan = null;
  /** Scans so far; a caller that asked for one waits until it rises. */
  scans = 0;
  /** @type {string | null} why the last scan itself failed; a job's failure is in the table */
  error = null;

  /**
   * @param {import('./engine.mjs').Engine} engine
   * @param {import('./arbiter.mjs').Arbiter} arbiter
   * @param {(line: string) => void} log
   */
  constructor(engine, arbiter, log) {
    this.#engine = engine;
    this.#arbiter = arbiter;
    this.#log = log;
  }

  /** Runs every job that is due; a scan that is under way is waited for, then another one made. */
  async scan() {
    while (this.#scan) await this.#scan;
    this.#scan = this.#runDue();
    try {
      await this.#scan;
      this.error = null;
    } catch (error) {
      if (error instanceof EngineCrash) this.#checkedUnfinished = false;
      else if (!(error instanceof EngineError)) throw error;
      this.error = `running the due policy jobs failed: ${error.message}`;
      this.#log(this.error);
    } finally {
      this.#scan = null;
      this.scans += 1;
    }
  }

  async #runDue() {
    for (const [id, proc, relation] of await this.#due()) {
      // Each job is a turn of its own: clients come between.
      await this.#arbiter.task(`policy job ${id} ${proc} ${relation}`, () => this.#runOne(id, proc, relation));
    }
  }

  #due() {
    return this.#arbiter.task('looking for due policy jobs', async () => {
      const [[[ready]]] = await this.#engine.query(READY);
      if (ready !== 't') return [];
      if (!this.#checkedUnfinished) await this.#engine.query(CLOSE_UNFINISHED);
      this.#checkedUnfinished = true;
      const [rows] = await this.#engine.query(DUE);
      return rows;
    });
  }

  async #runOne(id, proc, relation) {
    const [[[run]]] = await this.#engine.query(
      `INSERT INTO public.analytics_job_runs (job_id, proc_name, relation)
       VALUES (${id}, ${literal(proc)}, nullif(${literal(relation)}, '')) RETURNING run_id`,
    );
    let failure = null;
    try {
      await this.#engine.query(`CALL public.run_job(${id})`);
    } catch (error) {
      if (!(error instanceof EngineError)) throw error;
      failure = error;
      // A procedure that failed between its own transactions may leave one open.
      await this.#engine.query('ROLLBACK');
    }
    await this.#engine.query(
      `UPDATE public.analytics_job_runs SET finished_at = clock_timestamp(), succeeded = ${failure === null},
         error = ${failure ? literal(`${failure.message} (${failure.sqlstate})`) : 'NULL'} WHERE run_id = ${run}`,
    );
    await this.#engine.query(FORGET_OLD);
    this.#log(`job ${id} ${proc} ${relation}: ${failure ? `failed: ${failure.message}` : 'succeeded'}`);
  }
}
