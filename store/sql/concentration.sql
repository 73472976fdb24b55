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
chosen AS (
    SELECT p.run, p.step, p.split, p.source, p.k, p.pass_at_k, p.stderr, p.n_problems,
           coalesce(min(s.step) FILTER (s.step > p.step - (p.source = 'rollouts')::INTEGER), max(s.step)) AS trained_step
    FROM pass_at_k p JOIN steps s ON s.run = p.run
    GROUP BY ALL
)
SELECT c.run, c.step, c.split, c.source, c.k, c.pass_at_k, c.stderr, c.n_problems, c.trained_step,
       s.lambda_1, s.lambda_2, s.lambda_3, s.probability_1, s.entropy
FROM chosen c JOIN steps s ON s.run = c.run AND s.step = c.trained_step;
