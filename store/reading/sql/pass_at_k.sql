-- Unbiased pass@k by step: 1 - C(n-c, k)/C(n, k) averaged over problems, 1 - (1-p)^k where p is exact.
-- Rollouts of a step count once every process has written its own: groups may be spread over processes.
CREATE OR REPLACE VIEW pass_at_k AS
WITH whole_rollouts AS (
    SELECT r.* FROM responses r
    JOIN attempts a ON a.run = r.run AND a.attempt = r.attempt
    LEFT JOIN steps s ON s.run = r.run AND s.step = r.step
    QUALIFY coalesce(s.complete, false)
         OR count(DISTINCT r.worker) OVER (PARTITION BY r.run, r.attempt, r.step) = a.world_size
),
problems AS (
    SELECT run, step, split, source, prompt_id, n, c, success FROM evals
    UNION ALL BY NAME
    SELECT run, step, 'train' AS split, 'rollouts' AS source, min(prompt_id) AS prompt_id,
           count(*) FILTER (verdict <> 'unjudged')::INTEGER AS n, count(*) FILTER (verdict = 'right')::INTEGER AS c,
           NULL::DOUBLE AS success
    FROM whole_rollouts WHERE group_id IS NOT NULL
    GROUP BY run, step, attempt, generation, group_id
),
each AS (
    SELECT p.run, p.step, p.split, p.source, g.k::INTEGER AS k, p.n,
           CASE WHEN p.success IS NOT NULL THEN 1 - pow(1 - p.success, g.k)
                WHEN p.n - p.c < g.k THEN 1.0
                WHEN p.c = 0 THEN 0.0
                WHEN g.k = 1 THEN p.c / p.n
                ELSE 1 - exp(lgamma(p.n - p.c + 1) - lgamma(p.n - p.c - g.k + 1) - lgamma(p.n + 1) + lgamma(p.n - g.k + 1))
           END AS value
    FROM problems p
    CROSS JOIN (SELECT unnest([{k_grid}]) AS k) g
    WHERE p.success IS NOT NULL OR p.n >= g.k
)
SELECT run, step, split, source, k, avg(value) AS pass_at_k,
       CASE WHEN count(*) > 1 THEN stddev_samp(value) / sqrt(count(*)) END AS stderr,
       count(*) AS n_problems, sum(n)::BIGINT AS n_samples
FROM each
GROUP BY run, step, split, source, k;
