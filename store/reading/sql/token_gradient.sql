-- How large the gradient of the loss at each logged token's logits is: |w|·‖ẽ - p‖, in units of the loss. Of a policy
-- gradient without smoothing it is |w|·√(1 - 2 p_y + Σp²) (arXiv 2505.12929). NULL where no loss was seen, where an entropy
-- bonus pulls in another direction, or where the smoothing reaches beyond the ranks logged.
CREATE OR REPLACE VIEW token_gradient AS
WITH spread AS (
    SELECT *, exp(logprob::DOUBLE) AS probability, smoothing_shares(p, smoothing_k, smoothing_weighting) AS shares,
           smoothing > 0 AS smooth
    FROM token_push_terms
)
SELECT run, attempt, step, worker, response_id, position, token_id, text, verdict, forking, rank, probability, weight,
       CASE WHEN weight IS NULL OR h <> 0 OR (smooth AND smoothing_k NOT BETWEEN 1 AND len(p)) THEN NULL
            ELSE abs(weight) * sqrt(greatest(0,
                (1 - smoothing) ** 2 - 2 * (1 - smoothing) * probability + collision
                + CASE WHEN smooth
                       THEN smoothing ** 2 * list_dot_product(shares, shares) - 2 * smoothing * list_dot_product(shares, p)
                            + 2 * smoothing * (1 - smoothing) * coalesce(shares[nullif(list_position(ids, token_id), 0)], 0)
                       ELSE 0 END))
       END AS gradient
FROM spread;
