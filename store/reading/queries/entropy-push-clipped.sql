-- what clipping keeps from the entropy, by step: the push of the loss, and that of the tokens clipped high and low
-- Nats per token of those logged, in units of the loss. `withheld_high` is what the tokens of positive advantage that the loss
-- clipped would have pushed unclipped, by A·γ; `withheld_low` those of negative advantage. Tokens whose push is not known are
-- left out. Not told apart with a KL term, nor in clip_cov and forking_tokens (docs/metrics.md). Reads every token row.
SELECT run, step, count(*) AS n_tokens, count(*) FILTER (clipped = 'high') AS n_high, count(*) FILTER (clipped = 'low') AS n_low,
       avg(entropy_push) AS entropy_push, coalesce(sum(withheld_push) FILTER (clipped = 'high'), 0) / count(*) AS withheld_high,
       coalesce(sum(withheld_push) FILTER (clipped = 'low'), 0) / count(*) AS withheld_low
FROM token_entropy_push
WHERE isfinite(entropy_push)
GROUP BY run, step
ORDER BY run, step
