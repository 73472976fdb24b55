-- How far the sampler's log-probability of the tokens it drew is from that of the old policy, as the trainer scored it,
-- by step and by the trainer's probability of the token: `p_from` ≤ p < `p_to`, and all tokens from 0 to 1. The old
-- policy's is log p - ln(ratio). As in `lambda_k`, the figures of a step that not every process has reported are NULL.
CREATE OR REPLACE VIEW mismatch AS
WITH pairs AS (
    SELECT run, step, sampler_logprob::DOUBLE - old AS gap, exp(old) AS p
    FROM (SELECT run, step, sampler_logprob, logprob::DOUBLE - CASE WHEN ratio > 0 THEN ln(ratio::DOUBLE) END AS old
          FROM tokens WHERE sampler_logprob IS NOT NULL)
    WHERE isfinite(sampler_logprob) AND isfinite(old)
),
binned AS (
    SELECT run, step, gap,
           CASE WHEN p < 0.01 THEN 0 WHEN p < 0.1 THEN 1 WHEN p < 0.5 THEN 2 WHEN p < 0.9 THEN 3 WHEN p < 0.99 THEN 4
                ELSE 5 END AS bin
    FROM pairs
),
figures AS (
    SELECT run, step, bin, count(*) AS n_tokens, avg(abs(gap)) AS mean_gap, max(abs(gap)) AS max_gap, avg(gap) AS kl_k1,
           avg(exp(-gap) - 1 + gap) AS kl_k3, avg((abs(gap) > ln(2))::INTEGER) AS share_outside
    FROM binned
    GROUP BY GROUPING SETS ((run, step), (run, step, bin))
)
SELECT run, step, coalesce(([0, 0.01, 0.1, 0.5, 0.9, 0.99]::DOUBLE[])[bin + 1], 0) AS p_from,
       coalesce(([0.01, 0.1, 0.5, 0.9, 0.99, 1]::DOUBLE[])[bin + 1], 1) AS p_to,
       CASE WHEN complete THEN mean_gap END AS mean_gap, CASE WHEN complete THEN max_gap END AS max_gap,
       CASE WHEN complete THEN kl_k1 END AS kl_k1, CASE WHEN complete THEN kl_k3 END AS kl_k3,
       CASE WHEN complete THEN share_outside END AS share_outside,
       CASE WHEN complete THEN n_tokens END AS n_tokens, complete
FROM figures JOIN (SELECT run, step, bool_and(complete) AS complete FROM rollups GROUP BY run, step) USING (run, step);
