-- One row a problem and evaluation. A resumed run may evaluate the step it starts from again: the newest attempt counts.
-- Evaluations beside training belong to no attempt; each counts once it is complete, its blocks of samples added up.
CREATE OR REPLACE VIEW evals AS
WITH own AS (
    SELECT e.* FROM all_evals e
    JOIN attempt_spans s ON s.run = e.run AND s.attempt = e.attempt AND e.step <= s.last_step
    WHERE e.evaluation IS NULL
    QUALIFY e.attempt = max(e.attempt) OVER (PARTITION BY e.run, e.step, e.split, e.source)
),
beside AS (
    SELECT e.run, e.step, e.split, e.source, e.prompt_id, sum(e.n)::INTEGER AS n, sum(e.c)::INTEGER AS c,
           sum(e.n_unjudged)::INTEGER AS n_unjudged, max(e.success) AS success, e.evaluation, e.benchmark,
           sum(e.n_truncated)::INTEGER AS n_truncated, sum(e.n_unextracted)::INTEGER AS n_unextracted,
           any_value(e.samples_requested) AS samples_requested, any_value(e.temperature) AS temperature,
           any_value(e.top_p) AS top_p
    FROM all_evals e SEMI JOIN (FROM evaluations WHERE complete) v ON v.run = e.run AND v.evaluation = e.evaluation
    GROUP BY e.run, e.step, e.split, e.source, e.prompt_id, e.evaluation, e.benchmark
)
FROM own UNION ALL BY NAME FROM beside;
