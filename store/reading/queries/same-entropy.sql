-- what entropy hides: tokens of one entropy whose rank-1 probability differs, and how it moved over the run
-- One row a bin of entropy (0.25 nats): the spread of the rank-1 probability inside it, and its mean in the first and
-- in the last share of the steps. Reads every token row.
-- $window = 0.2: share of the steps at each end
WITH ends AS (
    SELECT run, min(step) + floor((max(step) - min(step)) * $window) AS early,
           max(step) - floor((max(step) - min(step)) * $window) AS late
    FROM rollups GROUP BY run
)
SELECT run, floor(entropy / 0.25) * 0.25 AS entropy_from,
       count(*) AS n_tokens,
       quantile_cont(exp(logp_1), 0.05) AS probability_1_p05,
       avg(exp(logp_1)) AS probability_1,
       quantile_cont(exp(logp_1), 0.95) AS probability_1_p95,
       avg(exp(logp_1)) FILTER (step <= early) AS early_probability_1,
       avg(exp(logp_1)) FILTER (step >= late) AS late_probability_1
FROM tokens JOIN ends USING (run)
WHERE isfinite(entropy)
GROUP BY run, entropy_from
ORDER BY run, entropy_from
