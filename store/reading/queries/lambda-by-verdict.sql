-- Λ(1..3) by step, for right and wrong responses and all of them
-- Nats, the mean over responses of the mean over their tokens. Reads roll-ups alone.
SELECT run, step, verdict,
       max(lambda_k) FILTER (k = 1) AS lambda_1,
       max(lambda_k) FILTER (k = 2) AS lambda_2,
       max(lambda_k) FILTER (k = 3) AS lambda_3,
       any_value(n_responses) AS n_responses,
       bool_and(complete) AS complete
FROM lambda_k
WHERE k <= 3
GROUP BY ALL
ORDER BY run, step, verdict
