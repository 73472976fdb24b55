-- how much of the loss's weight is spent on problems that are solved already, by step
-- Shares of Σ|w| over the logged tokens of a step. `solved_before`: some response was right when the problem was sampled
-- last (its pass@k at the group's size was 1); `mastered_before`: every one was. Problems sampled for the first time
-- count as neither. After arXiv 2606.15455. Reads every token row.
WITH groups AS (
    SELECT run, attempt, generation, prompt_id,
           count(*) FILTER (verdict = 'right') AS c, count(*) FILTER (verdict <> 'unjudged') AS n
    FROM responses GROUP BY ALL
),
visits AS (
    SELECT *, lag(c) OVER w AS c_before, lag(n) OVER w AS n_before
    FROM groups WINDOW w AS (PARTITION BY run, prompt_id ORDER BY generation)
)
SELECT t.run, t.step, count(*) AS n_tokens,
       coalesce(sum(abs(t.weight)) FILTER (v.c_before > 0), 0) / nullif(sum(abs(t.weight)), 0) AS solved_before,
       coalesce(sum(abs(t.weight)) FILTER (v.c_before > 0 AND v.c_before = v.n_before), 0) / nullif(sum(abs(t.weight)), 0)
           AS mastered_before,
       coalesce(sum(abs(t.weight)) FILTER (v.c_before IS NULL), 0) / nullif(sum(abs(t.weight)), 0) AS first_visit
FROM tokens t
JOIN responses r ON r.run = t.run AND r.attempt = t.attempt AND r.response_id = t.response_id
JOIN visits v ON v.run = r.run AND v.attempt = r.attempt AND v.generation = r.generation AND v.prompt_id = r.prompt_id
WHERE t.weight IS NOT NULL
GROUP BY t.run, t.step
ORDER BY t.run, t.step
