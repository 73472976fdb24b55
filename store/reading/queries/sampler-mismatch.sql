-- how far the sampler's log-probs are from the trainer's, by step: gap, KL, and what rounding alone makes of it
-- Nats. `noise` is the trainer against itself: the old policy's pass beside the loss's, on steps made right after
-- sampling; NULL where the old policy was not scored apart. `rare_` tokens had a probability below 0.1.
WITH noise AS (
    SELECT run, step, nullif(avg(abs(CASE WHEN ratio > 0 THEN ln(ratio) END)), 0) AS noise
    FROM tokens
    JOIN (SELECT run, attempt, response_id, step AS first_step FROM responses) r USING (run, attempt, response_id)
    WHERE step = first_step AND sampler_logprob IS NOT NULL
    GROUP BY run, step
),
rare AS (
    SELECT run, step, sum(mean_gap * n_tokens) / sum(n_tokens) AS rare_gap
    FROM mismatch WHERE p_to <= 0.1
    GROUP BY run, step
)
SELECT run, step, mean_gap, max_gap, kl_k1, kl_k3, share_outside, noise, rare_gap, n_tokens
FROM mismatch LEFT JOIN noise USING (run, step) LEFT JOIN rare USING (run, step)
WHERE p_from = 0 AND p_to = 1
ORDER BY run, step
