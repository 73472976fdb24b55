-- each held-out pass@k beside the Λ(k) of the same weights
SELECT run, step, split, benchmark, source, k, pass_at_k, stderr, lambda_1, lambda_2, lambda_3, probability_1, entropy
FROM concentration
WHERE source <> 'rollouts'
ORDER BY run, split, benchmark, source, evaluation, k, step
