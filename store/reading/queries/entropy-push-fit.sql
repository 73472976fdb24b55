-- how well the entropy push goes along with the measured change of entropy: correlation over steps, with 95 % interval
-- Same tokens: scored again after the step (--probe_rescore); next step: change of the mean entropy to the next step, on other
-- tokens. `low`, `high`: Fisher's z with as many independent steps (`n_independent`) as the lag-1 autocorrelations a, b of both
-- leave, n(1 - ab)/(1 + ab) (Bartlett 1935). Runs with fewer than 10 steps, or without spread, have no row. Reads roll-ups alone.
WITH series AS (
    SELECT p.run, p.step, s.attempt, p.entropy_push, p.forking_push, p.shift, p.forking_shift, m.entropy
    FROM (FROM entropy_push WHERE verdict = 'all' AND complete) p
    JOIN steps s ON s.run = p.run AND s.step = p.step
    JOIN (SELECT run, step, sum(sum_entropy) / nullif(sum(n_tokens), 0) AS entropy FROM rollups GROUP BY run, step) m
      ON m.run = p.run AND m.step = p.step
),
followed AS (
    SELECT *, CASE WHEN lead(step) OVER w = step + 1 AND lead(attempt) OVER w = attempt
                   THEN lead(entropy) OVER w - entropy END AS next_change
    FROM series WINDOW w AS (PARTITION BY run ORDER BY step)
),
pairs AS (
    SELECT run, step, 'same tokens' AS measured_on, entropy_push AS x, shift AS y FROM followed
    UNION ALL SELECT run, step, 'same forking tokens', forking_push, forking_shift FROM followed
    UNION ALL SELECT run, step, 'next step, other tokens', entropy_push, next_change FROM followed
),
lagged AS (
    SELECT *, lag(x) OVER w AS x_before, lag(y) OVER w AS y_before
    FROM pairs WHERE isfinite(x) AND isfinite(y) WINDOW w AS (PARTITION BY run, measured_on ORDER BY step)
),
fits AS (
    SELECT run, measured_on, count(*) AS n_steps, corr(x, y) AS r, avg((sign(x) = sign(y))::INTEGER) AS same_sign,
           greatest(0, corr(x, x_before) * corr(y, y_before)) AS shared
    FROM lagged GROUP BY run, measured_on
    HAVING count(*) >= 10 AND stddev_pop(x) > 0 AND stddev_pop(y) > 0
),
counted AS (
    SELECT *, n_steps * (1 - coalesce(shared, 0)) / (1 + coalesce(shared, 0)) AS n_independent,
           atanh(greatest(-0.999999, least(0.999999, r))) AS z
    FROM fits
)
SELECT run, measured_on, r, CASE WHEN n_independent > 4 THEN tanh(z - 1.96 / sqrt(n_independent - 3)) END AS low,
       CASE WHEN n_independent > 4 THEN tanh(z + 1.96 / sqrt(n_independent - 3)) END AS high,
       same_sign, n_steps, n_independent
FROM counted
ORDER BY run, measured_on
