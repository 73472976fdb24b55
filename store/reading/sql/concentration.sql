-- Each measured pass@k beside the concentration of the same parameters: the first complete step trained from them,
-- which scored its tokens under exactly the evaluated policy; after the last step, that step.
CREATE OR REPLACE VIEW concentration AS
WITH steps AS (
    SELECT l.run, l.step,
           max(l.lambda_k) FILTER (l.k = 1) AS lambda_1, max(l.lambda_k) FILTER (l.k = 2) AS lambda_2,
           max(l.lambda_k) FILTER (l.k = 3) AS lambda_3, max(l.probability) FILTER (l.k = 1) AS probability_1,
           any_value(e.entropy) AS entropy
    FROM lambda_k l
    JOIN (SELECT run, step, sum(response_sum_entropy) / nullif(sum(n_responses), 0) AS entropy
          FROM rollups GROUP BY run, step) e ON e.run = l.run AND e.step = l.step
    WHERE l.verdict = 'all' AND l.complete
    GROUP BY l.run, l.step
),
measured AS (  -- rollouts were scored in the step itself
    SELECT *, step + (source <> 'rollouts')::INTEGER AS wanted FROM pass_at_k
),
chosen AS (
    SELECT p.*, coalesce(s.step, l.last_step) AS trained_step
    FROM measured p
    JOIN (SELECT run, max(step) AS last_step FROM steps GROUP BY run) l ON l.run = p.run
    ASOF LEFT JOIN (SELECT run, step FROM steps) s ON s.run = p.run AND p.wanted <= s.step
)
SELECT c.run, c.step, c.split, c.source, c.k, c.pass_at_k, c.stderr, c.n_problems, c.benchmark, c.evaluation, c.trained_step,
       s.lambda_1, s.lambda_2, s.lambda_3, s.probability_1, s.entropy
FROM chosen c JOIN steps s ON s.run = c.run AND s.step = c.trained_step;
