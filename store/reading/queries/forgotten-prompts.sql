-- prompts that were solved in the run's first half and never again in its second
-- Reads responses alone. `last_right` is the step of the last right answer.
-- $limit = 50: rows
WITH halves AS (SELECT run, (min(step) + max(step)) / 2 AS middle FROM rollups GROUP BY run)
SELECT run, prompt_id,
       count(*) FILTER (step <= middle) AS n_first_half,
       count(*) FILTER (step <= middle AND verdict = 'right') AS right_first_half,
       count(*) FILTER (step > middle) AS n_second_half,
       max(step) FILTER (verdict = 'right') AS last_right,
       any_value(prompt) AS prompt
FROM responses JOIN halves USING (run)
GROUP BY run, prompt_id
HAVING right_first_half > 0 AND n_second_half > 0 AND count(*) FILTER (step > middle AND verdict = 'right') = 0
ORDER BY right_first_half DESC, run, prompt_id
LIMIT $limit
