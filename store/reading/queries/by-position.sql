-- concentration by place in the response, at the run's first steps and its last
-- Mean log-probability (nats) of rank 1 and 2 and mean entropy by the tenth of the response a token stands in.
-- Reads the token rows of those steps.
-- $window = 0.2: share of the steps at each end
WITH ends AS (
    SELECT run, min(step) + floor((max(step) - min(step)) * $window) AS early,
           max(step) - floor((max(step) - min(step)) * $window) AS late
    FROM rollups GROUP BY run
)
SELECT run, least(9, floor(10 * position / r.n_tokens))::INTEGER AS tenth,
       count(*) AS n_tokens,
       avg(logp_1) FILTER (step <= early) AS early_logp_1,
       avg(logp_1) FILTER (step >= late) AS late_logp_1,
       avg(logp_2) FILTER (step <= early) AS early_logp_2,
       avg(logp_2) FILTER (step >= late) AS late_logp_2,
       avg(entropy) FILTER (step <= early) AS early_entropy,
       avg(entropy) FILTER (step >= late) AS late_entropy
FROM tokens JOIN ends USING (run)
JOIN (SELECT run, attempt, response_id, n_tokens FROM responses) r USING (run, attempt, response_id)
WHERE step <= early OR step >= late
GROUP BY run, tenth
ORDER BY run, tenth
