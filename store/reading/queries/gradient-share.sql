-- how much of the gradient at the logits comes from tokens of each rank and probability, at the run's start and end
-- |w|·‖ẽ - p‖ summed over the logged tokens of the first and last steps, as shares that add up to 1 over a run's rows.
-- Probability in bins; rank 4 stands for 4 and more. Tokens without a known gradient are left out. Reads every token row.
-- $window = 0.2: share of the steps at each end
WITH ends AS (
    SELECT run, min(step) + floor((max(step) - min(step)) * $window) AS early,
           max(step) - floor((max(step) - min(step)) * $window) AS late
    FROM rollups GROUP BY run
),
binned AS (
    SELECT run, least(rank, 4) AS rank,
           CASE WHEN probability >= 0.9 THEN 0.9 WHEN probability >= 0.5 THEN 0.5 WHEN probability >= 0.1 THEN 0.1
                WHEN probability >= 0.01 THEN 0.01 ELSE 0 END AS probability_from,
           count(*) AS n_tokens,
           coalesce(sum(gradient) FILTER (step <= early), 0) AS early_gradient,
           coalesce(sum(gradient) FILTER (step >= late), 0) AS late_gradient
    FROM token_gradient JOIN ends USING (run)
    WHERE gradient IS NOT NULL
    GROUP BY ALL
)
SELECT run, rank, probability_from, n_tokens,
       early_gradient / nullif(sum(early_gradient) OVER (PARTITION BY run), 0) AS early_share,
       late_gradient / nullif(sum(late_gradient) OVER (PARTITION BY run), 0) AS late_share
FROM binned
ORDER BY run, rank, probability_from DESC
