-- every run as it stands: its last step, latest Λ(1..3), and pass@1 and pass@K measured last
-- Λ in nats over all responses of the last complete step. `pass_most` is pass@K at the largest K up to 256 that `source`
-- can tell, `most`: exact evaluations come before sampled ones, and those before training rollouts.
WITH latest AS (
    SELECT run, step, k, lambda_k FROM lambda_k WHERE verdict = 'all' AND complete
    QUALIFY step = max(step) OVER (PARTITION BY run)
),
evaluated AS (
    SELECT run, split, source, step, k, pass_at_k FROM pass_at_k WHERE k <= 256 AND benchmark IS NULL
    QUALIFY dense_rank() OVER (
        PARTITION BY run ORDER BY CASE source WHEN 'exact' THEN 0 WHEN 'sampled' THEN 1 ELSE 2 END, step DESC, split
    ) = 1
)
SELECT r.run, r.method, r.model, r.task, r.status, r.last_step, l.lambda_1, l.lambda_2, l.lambda_3,
       e.pass_1, e.pass_most, e.most, e.source, r.attempts, r.n_tokens, r.n_nonfinite, r.dropped, c.n_bytes, r.created, r.last_seen
FROM runs r
LEFT JOIN run_costs c USING (run)
LEFT JOIN (
    SELECT run, max(lambda_k) FILTER (k = 1) AS lambda_1, max(lambda_k) FILTER (k = 2) AS lambda_2,
           max(lambda_k) FILTER (k = 3) AS lambda_3
    FROM latest GROUP BY run
) l USING (run)
LEFT JOIN (
    SELECT run, max(pass_at_k) FILTER (k = 1) AS pass_1, arg_max(pass_at_k, k) AS pass_most, max(k) AS most,
           any_value(source) AS source
    FROM evaluated GROUP BY run
) e USING (run)
ORDER BY r.created, r.run
