-- The push of the loss on the entropy at each logged token (`store/writing/push.py` in SQL), and what clipping kept from it.
-- Rests on `token_push_terms` and `smoothing_shares` of token_push.sql.
-- entropy_push = w(Σp² log p + HΣp² - Σ ẽ p (log p + H)): `shares` is how the smoothing is spread over the ranks.
CREATE OR REPLACE MACRO push_on_entropy(w, s, shares, p, logp, logprob, entropy, collision, collision_logprob) AS
    w * (collision_logprob + entropy * collision - (1 - s) * exp(logprob::DOUBLE) * (logprob::DOUBLE + entropy)
         - CASE WHEN s > 0 THEN s * list_dot_product(shares,
                    list_transform(list_zip(p, logp), lambda z: coalesce(z[1] * (z[2]::DOUBLE + entropy), 0.0)))
                ELSE 0 END);

CREATE OR REPLACE VIEW token_entropy_push AS
WITH terms AS (
    SELECT t.*, smoothing_shares(p, smoothing_k, smoothing_weighting) AS shares,
           -- Without weight although the response has an advantage; these two methods leave out tokens of their own accord
           CASE WHEN weight = 0 AND i.method IS DISTINCT FROM 'clip_cov' AND i.method IS DISTINCT FROM 'forking_tokens'
                THEN CASE WHEN response_advantage > 0 THEN 'high' WHEN response_advantage < 0 THEN 'low' END
           END AS clipped
    FROM token_push_terms t LEFT JOIN (SELECT run, any_value(method) AS method FROM run_info GROUP BY run) i ON i.run = t.run
)
SELECT run, attempt, step, worker, response_id, position, token_id, text, verdict, forking, ratio, weight, clipped, entropy,
       CASE WHEN weight IS NULL OR NOT isfinite(collision_logprob) OR (smoothing > 0 AND smoothing_k NOT BETWEEN 1 AND len(p))
            THEN NULL
            ELSE push_on_entropy(weight, smoothing, shares, p, logp, logprob, entropy, collision, collision_logprob)
                 + CASE WHEN h = 0 THEN 0 ELSE h * entropy_slope END
       END AS entropy_push,
       CASE WHEN clipped IS NOT NULL
            THEN push_on_entropy(response_advantage::DOUBLE * ratio, 0, shares, p, logp, logprob, entropy, collision,
                                 collision_logprob)
       END AS withheld_push
FROM terms;

-- What a method would have pushed the entropy towards on the same rollouts, by step and verdict, over the logged token rows:
-- `push_under` (token_push.sql) with the entropy in place of the ranks. Tokens without Σp² log p make a step's figure NULL.
CREATE OR REPLACE MACRO entropy_push_under(method, alpha := 0.01, smoothed := 3, lambda_top1 := 1.1, epsilon := 0.2) AS TABLE
WITH pushed AS (
    SELECT run, step, verdict, forking,
           push_on_entropy(w, CASE WHEN method = 'simko' AND forking AND verdict = 'right' THEN alpha ELSE 0 END,
                           smoothing_shares(p, smoothed, 'uniform'), p, logp, logprob, entropy, collision,
                           collision_logprob) AS push
    FROM credit_under(method, lambda_top1, epsilon)
),
sums AS (
    SELECT run, step, coalesce(verdict, 'all') AS verdict, sum(push) AS push, sum(push) FILTER (forking) AS forking_push,
           count(*) AS n_tokens, count(*) FILTER (isfinite(push)) AS n_known
    FROM pushed GROUP BY GROUPING SETS ((run, step), (run, step, verdict))
)
SELECT method AS method, run, step, verdict,
       CASE WHEN n_known = n_tokens THEN push / max(n_tokens) OVER (PARTITION BY run, step) END AS entropy_push,
       CASE WHEN n_known = n_tokens THEN coalesce(forking_push, 0) / max(n_tokens) OVER (PARTITION BY run, step) END
           AS forking_push,
       n_tokens
FROM sums;
