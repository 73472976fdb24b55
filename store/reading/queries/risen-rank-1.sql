-- the tokens at whose places the rank-1 probability rose most from the run's first steps to its last
-- Compares the mean probability of rank 1 where the token was sampled, in the first and in the last share of the steps.
-- Reads the token rows of those steps.
-- $window = 0.2: share of the steps at each end
-- $least = 20: occurrences at each end, at least
-- $limit = 20: rows
WITH ends AS (
    SELECT run, min(step) AS first, max(step) AS last,
           min(step) + floor((max(step) - min(step)) * $window) AS early,
           max(step) - floor((max(step) - min(step)) * $window) AS late
    FROM rollups GROUP BY run
)
SELECT run, token_id, any_value(text) AS text,
       avg(exp(logp_1)) FILTER (step <= early) AS early_probability_1,
       avg(exp(logp_1)) FILTER (step >= late) AS late_probability_1,
       late_probability_1 - early_probability_1 AS rise,
       count(*) FILTER (step <= early) AS n_early,
       count(*) FILTER (step >= late) AS n_late
FROM tokens JOIN ends USING (run)
WHERE (step <= early OR step >= late) AND early < late
GROUP BY run, token_id
HAVING n_early >= $least AND n_late >= $least
ORDER BY rise DESC, run, token_id
LIMIT $limit
