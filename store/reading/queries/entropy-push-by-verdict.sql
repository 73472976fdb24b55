-- what right and wrong answers push the entropy towards, by step, and how the entropy of the same tokens changed
-- Nats per token in units of the loss: below 0 the loss takes entropy away. Right, wrong and unjudged add up to all. Where
-- scored again, `measured_shift` is the change by the step in nats. Formula, limits and sources: docs/metrics.md. Reads
-- roll-ups alone.
SELECT run, step, verdict, entropy_push, forking_push, shift AS measured_shift, forking_shift AS measured_forking_shift, n_tokens
FROM entropy_push
ORDER BY run, step, verdict
