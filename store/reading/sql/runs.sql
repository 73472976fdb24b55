-- One row a run: what it is, how it stands, how far it has come.
CREATE OR REPLACE VIEW runs AS
WITH attempts_of AS (
    SELECT run, max(attempt) AS attempts, arg_max(status, attempt) AS status, arg_max(last_seen, attempt) AS last_seen, sum(dropped) AS dropped
    FROM attempts GROUP BY run
),
evaluated AS (  -- a run without attempts is as its evaluations are
    SELECT run, arg_max(status, started) AS status, arg_max(last_seen, started) AS last_seen
    FROM evaluations GROUP BY run
),
logged AS (
    SELECT run, max(step) AS last_step, sum(n_tokens) AS n_tokens, sum(n_nonfinite) AS n_nonfinite,
           count(DISTINCT step) FILTER (NOT complete) AS incomplete_steps
    FROM rollups GROUP BY run
)
SELECT i.run, i.path, i.method, i.model, i.task, i.dataset, coalesce(a.status, e.status, 'empty') AS status,
       coalesce(a.attempts, 0) AS attempts, l.last_step, i.created, i.probe_k, i.temperature, i.forking_rule,
       i.schema_version, coalesce(l.n_tokens, 0)::BIGINT AS n_tokens, coalesce(l.n_nonfinite, 0)::BIGINT AS n_nonfinite,
       coalesce(a.dropped, 0)::BIGINT AS dropped, coalesce(l.incomplete_steps, 0)::BIGINT AS incomplete_steps,
       CASE WHEN a.status IS NULL THEN e.last_seen ELSE a.last_seen END AS last_seen, i.kind
FROM run_info i LEFT JOIN attempts_of a USING (run) LEFT JOIN logged l USING (run) LEFT JOIN evaluated e USING (run);
