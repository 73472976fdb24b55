-- how far the policy has moved from the one that wrote the responses, by step
-- γ is the probability of a sampled token now over that when it was sampled; `age` is how many optimizer steps
-- ago the response was first trained on. Reads every token row; NULL where the run logged no ratio.
SELECT run, step, avg(step - r.first_step) AS age,
       avg(ratio) AS ratio, avg(abs(ln(ratio))) AS abs_log_ratio,
       avg((weight = 0)::INTEGER) AS share_without_gradient
FROM tokens JOIN (SELECT run, attempt, response_id, step AS first_step FROM responses) r USING (run, attempt, response_id)
GROUP BY run, step
ORDER BY run, step
