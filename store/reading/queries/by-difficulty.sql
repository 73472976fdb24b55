-- concentration by how hard a prompt was at first: the share of its first rollouts that were right
-- A prompt's difficulty is the share right in the first step that sampled it. Nats; reads every token row.
WITH firsts AS (
    SELECT run, prompt_id, avg((verdict = 'right')::INTEGER) AS solved
    FROM responses
    JOIN (SELECT run, prompt_id, min(step) AS step FROM responses GROUP BY run, prompt_id) USING (run, prompt_id, step)
    WHERE verdict <> 'unjudged'
    GROUP BY run, prompt_id
),
levels AS (
    SELECT run, prompt_id,
           CASE WHEN solved = 0 THEN '0 never right' WHEN solved < 0.5 THEN '1 below half'
                WHEN solved < 1 THEN '2 half or more' ELSE '3 always right' END AS difficulty
    FROM firsts
)
SELECT run, difficulty, count(DISTINCT prompt_id) AS n_prompts, count(*) AS n_tokens,
       avg(logp_1) AS logp_1, avg(logp_2) AS logp_2, avg(logp_3) AS logp_3, avg(entropy) AS entropy,
       avg((r.verdict = 'right')::INTEGER) AS share_right
FROM tokens
JOIN (SELECT run, attempt, response_id, prompt_id, verdict FROM responses) r USING (run, attempt, response_id)
JOIN levels USING (run, prompt_id)
GROUP BY run, difficulty
ORDER BY run, difficulty
