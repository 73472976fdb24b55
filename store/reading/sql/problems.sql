-- What pass@k, pass^k and cover@tau are made of: judged and right responses, or the exact success, of each problem.
-- Rollouts of a step count once every process has written its own: groups may be spread over processes.
CREATE OR REPLACE VIEW problems AS
WITH whole_rollouts AS (
    SELECT r.* FROM responses r
    JOIN attempts a ON a.run = r.run AND a.attempt = r.attempt
    LEFT JOIN steps s ON s.run = r.run AND s.step = r.step
    QUALIFY coalesce(s.complete, false)
         OR count(DISTINCT r.worker) OVER (PARTITION BY r.run, r.attempt, r.step) = a.world_size
)
SELECT run, step, split, source, benchmark, evaluation, prompt_id, n, c, success FROM evals
UNION ALL BY NAME
SELECT run, step, 'train' AS split, 'rollouts' AS source, min(prompt_id) AS prompt_id,
       count(*) FILTER (verdict <> 'unjudged')::INTEGER AS n, count(*) FILTER (verdict = 'right')::INTEGER AS c,
       NULL::DOUBLE AS success
FROM whole_rollouts WHERE group_id IS NOT NULL
GROUP BY run, step, attempt, generation, group_id;
