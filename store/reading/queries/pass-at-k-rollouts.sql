-- pass@k from the training rollouts themselves: unbiased, by step, at no extra cost
-- 1 - C(n-c, k)/C(n, k) over the groups of a step, for k up to the group's size; `stderr` over groups.
-- `simko passk` estimates pass@k for larger k.
SELECT run, step, k, pass_at_k, stderr, n_problems AS n_groups
FROM pass_at_k
WHERE source = 'rollouts'
ORDER BY run, step, k
