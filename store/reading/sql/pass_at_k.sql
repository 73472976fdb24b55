-- Unbiased pass@k by step: 1 - C(n-c, k)/C(n, k) averaged over problems, 1 - (1-p)^k where p is exact.
CREATE OR REPLACE VIEW pass_at_k AS
WITH each AS (
    SELECT p.run, p.step, p.split, p.source, p.benchmark, p.evaluation, g.k::INTEGER AS k, p.n,
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
       count(*) AS n_problems, sum(n)::BIGINT AS n_samples, benchmark, evaluation
FROM each
GROUP BY run, step, split, source, benchmark, evaluation, k;
