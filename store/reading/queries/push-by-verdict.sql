-- what right and wrong answers push log p(rank 1..3) towards, by step
-- Nats a token in units of the loss; right, wrong and unjudged add up to all. Reads roll-ups alone.
SELECT run, step, verdict,
       max(push) FILTER (k = 1) AS push_1, max(push) FILTER (k = 2) AS push_2, max(push) FILTER (k = 3) AS push_3,
       max(forking_push) FILTER (k = 1) AS forking_push_1,
       max(shift) FILTER (k = 1) AS measured_shift_1
FROM push
WHERE k <= 3
GROUP BY run, step, verdict
ORDER BY run, step, verdict
