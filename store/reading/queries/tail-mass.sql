-- what is left beyond the top candidates: tail mass, Rényi entropies and p(rank 2) against p(rank 1), by step
-- `tail_mass` is 1 - Σ_k p_k over the run's K ranks; `renyi_2` is -log Σp² and `renyi_inf` is -log p_1, both nats and means
-- over tokens, beside Shannon's entropy: they weigh the top of the distribution more. `ratio_2_1` is the mean of p_2 / p_1.
-- Reads every token row.
SELECT run, step, count(*) AS n_tokens,
       avg(1 - list_sum(list_transform(list_filter(logp, lambda x: x IS NOT NULL), lambda x: exp(x::DOUBLE)))) AS tail_mass,
       avg(entropy) AS entropy, avg(-ln(collision::DOUBLE)) AS renyi_2, avg(-logp_1::DOUBLE) AS renyi_inf,
       avg(exp(logp_2::DOUBLE - logp_1)) AS ratio_2_1
FROM tokens
WHERE isfinite(entropy) AND isfinite(logp_1) AND collision > 0
GROUP BY run, step
ORDER BY run, step
