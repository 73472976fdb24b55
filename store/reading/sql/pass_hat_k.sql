-- Unbiased pass^k by step: all k of k responses right, C(c, k)/C(n, k) averaged over problems, p^k where p is exact.
CREATE OR REPLACE VIEW pass_hat_k AS
WITH each AS (
    SELECT p.run, p.step, p.split, p.source, p.benchmark, p.evaluation, g.k::INTEGER AS k,
           CASE WHEN p.success IS NOT NULL THEN pow(p.success, g.k)
                WHEN p.c < g.k THEN 0.0
                WHEN p.c = p.n THEN 1.0
                ELSE exp(lgamma(p.c + 1) - lgamma(p.c - g.k + 1) - lgamma(p.n + 1) + lgamma(p.n - g.k + 1))
           END AS value
    FROM problems p
    CROSS JOIN (SELECT unnest([{k_grid}]) AS k) g
    WHERE p.success IS NOT NULL OR p.n >= g.k
)
SELECT run, step, split, source, k, avg(value) AS pass_hat_k,
       CASE WHEN count(*) > 1 THEN stddev_samp(value) / sqrt(count(*)) END AS stderr,
       count(*) AS n_problems, benchmark, evaluation
FROM each
GROUP BY run, step, split, source, benchmark, evaluation, k;

-- Share of problems whose success rate is at least tau. The rate is the plug-in c/n (or the exact p): with few
-- responses it scatters around the true one, and the share with it.
CREATE OR REPLACE MACRO cover_at(tau) AS TABLE
SELECT run, step, split, source, tau::DOUBLE AS tau,
       avg((CASE WHEN success IS NOT NULL THEN success >= tau ELSE c >= tau * n - 1e-9 END)::INTEGER) AS cover, count(*) AS n_problems, benchmark, evaluation
FROM problems
WHERE success IS NOT NULL OR n > 0
GROUP BY run, step, split, source, benchmark, evaluation;
