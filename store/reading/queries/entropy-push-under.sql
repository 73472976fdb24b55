-- what each method would have pushed the entropy towards on a run's own rollouts, mean over its steps
-- Nats per token in units of the loss; `from_right` and `from_wrong` are parts of it, `forking_push` the part of forking tokens.
-- GRPO's advantages, clip at 1 ± epsilon; SimKO with `alpha`. Limit: the rollouts are those of the run, not of the method.
-- Steps without Σp² log p at every token are left out. Reads every token row, once per method.
-- $alpha = 0.1: SimKO's smoothing
-- $epsilon = 0.2: how far from 1 ratios are clipped
WITH under AS (
    FROM entropy_push_under('grpo', epsilon := $epsilon)
    UNION ALL FROM entropy_push_under('simko', alpha := $alpha, epsilon := $epsilon)
    UNION ALL FROM entropy_push_under('psr', epsilon := $epsilon)
    UNION ALL FROM entropy_push_under('nsr', epsilon := $epsilon)
    UNION ALL FROM entropy_push_under('w_reinforce', epsilon := $epsilon)
)
SELECT run, method, count(*) FILTER (verdict = 'all') AS n_steps, avg(entropy_push) FILTER (verdict = 'all') AS entropy_push,
       avg(entropy_push) FILTER (verdict = 'right') AS from_right, avg(entropy_push) FILTER (verdict = 'wrong') AS from_wrong,
       avg(forking_push) FILTER (verdict = 'all') AS forking_push
FROM under
WHERE entropy_push IS NOT NULL
GROUP BY run, method
ORDER BY run, entropy_push
