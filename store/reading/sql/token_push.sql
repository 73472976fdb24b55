-- The push of the loss on log p(rank k) at each logged token, k = 1..K as a list (`store/writing/push.py` in SQL), and what any
-- other method would have pushed there: `push_under('simko')`, a table macro on the same rows. Lists are as long as the
-- attempt's K, whatever that of other runs.
CREATE OR REPLACE VIEW token_push_terms AS
SELECT t.run, t.attempt, t.step, t.worker, t.response_id, t.position, t.token_id, t.text, t.forking, t.rank, t.logprob,
       t.ratio, t.weight, coalesce(t.smoothing, 0)::DOUBLE AS smoothing, coalesce(t.entropy_weight, 0)::DOUBLE AS h,
       t.collision_logprob::DOUBLE AS collision_logprob, t.collision::DOUBLE AS collision,
       t.entropy::DOUBLE AS entropy, t.entropy_slope::DOUBLE AS entropy_slope, t.logp[:a.probe_k] AS logp, t.ids[:a.probe_k] AS ids, a.smoothing_k,
       a.smoothing_weighting,
       -- A new list: DuckDB's products of lists look at the NULLs behind the end of a slice, too
       list_transform(t.logp[:a.probe_k], lambda x: exp(x::DOUBLE)) AS p, r.verdict, r.advantage,
       r.response_advantage, r.right_share, r.wrong_share
FROM tokens t JOIN attempts a ON a.run = t.run AND a.attempt = t.attempt
LEFT JOIN (
    SELECT run, attempt, response_id, verdict, advantage AS response_advantage,
           coalesce((reward - avg(reward) OVER g) / (coalesce(stddev_samp(reward) OVER g, 1) + 1e-4), 0) AS advantage,
           -- of the tokens of the whole rollout batch, those of right and of wrong answers
           sum(CASE WHEN verdict = 'right' THEN n_tokens ELSE 0 END) OVER b / nullif(sum(n_tokens) OVER b, 0) AS right_share,
           sum(CASE WHEN verdict = 'wrong' THEN n_tokens ELSE 0 END) OVER b / nullif(sum(n_tokens) OVER b, 0) AS wrong_share
    FROM responses WINDOW g AS (PARTITION BY run, attempt, generation, group_id),
                          b AS (PARTITION BY run, attempt, generation)
) r ON r.run = t.run AND r.attempt = t.attempt AND r.response_id = t.response_id;

-- push_k = w(ẽ_k - p_k - Σ p ẽ + Σ p²): `shares` is how the smoothing is spread over the ranks.
CREATE OR REPLACE MACRO push_list(w, s, shares, p, ids, token_id, logprob, collision) AS
    list_transform(range(1, len(p) + 1), lambda k:
        w * ((1 - s) * (ids[k] = token_id)::INTEGER + s * shares[k] - p[k] + collision
             - (1 - s) * exp(logprob::DOUBLE) - s * list_dot_product(shares, p)));
CREATE OR REPLACE MACRO smoothing_shares(p, ranks, weighting) AS
    CASE WHEN weighting = 'softmax'
         THEN list_transform(range(1, len(p) + 1), lambda k: CASE WHEN k <= ranks THEN p[k] / list_sum(p[1:ranks]) ELSE 0.0 END)
         ELSE list_transform(range(1, len(p) + 1), lambda k: CASE WHEN k <= ranks THEN 1.0 / ranks ELSE 0.0 END) END;

CREATE OR REPLACE VIEW token_push AS
SELECT run, attempt, step, worker, response_id, position, token_id, text, verdict, forking, weight, smoothing,
       CASE WHEN weight IS NULL OR (smoothing > 0 AND smoothing_k NOT BETWEEN 1 AND len(p))
                 OR (h <> 0 AND collision_logprob IS NULL) THEN NULL
            WHEN h = 0 THEN push_list(weight, smoothing, smoothing_shares(p, smoothing_k, smoothing_weighting), p, ids,
                                      token_id, logprob, collision)
            ELSE list_transform(
                list_zip(push_list(weight, smoothing, smoothing_shares(p, smoothing_k, smoothing_weighting), p, ids,
                                   token_id, logprob, collision), p, logp),
                lambda z: z[1] + h * (collision_logprob + entropy * collision - z[2] * (z[3] + entropy)))
       END AS push
FROM token_push_terms;

-- The logged token rows with the weight w that a method would have given them, on the same rollouts.
-- method: grpo, simko, psr, nsr or w_reinforce; GRPO's advantages from the rewards, clipping at 1 ± epsilon, forks by
-- the run's own forking rule. psr, nsr and w_reinforce take the
-- mean over the tokens of the verdicts they keep, over the whole rollout batch, as the trainer does. Complete steps only.
CREATE OR REPLACE MACRO credit_under(method, lambda_top1, epsilon) AS TABLE
WITH credited AS (
    SELECT *, CASE method
                  WHEN 'psr' THEN CASE WHEN verdict = 'right' THEN 1 / right_share ELSE 0 END
                  WHEN 'nsr' THEN CASE WHEN verdict = 'wrong' THEN -1 / wrong_share ELSE 0 END
                  WHEN 'w_reinforce' THEN CASE verdict WHEN 'right' THEN 0.1 WHEN 'wrong' THEN -1 ELSE 0 END
                      / nullif(right_share + wrong_share, 0)
                  WHEN 'simko' THEN advantage
                      * CASE WHEN advantage < 0 AND forking AND ids[1] = token_id THEN lambda_top1 ELSE 1 END
                  WHEN 'grpo' THEN advantage
                  ELSE error('push_under knows grpo, simko, psr, nsr and w_reinforce, not ' || method) END AS a
    FROM token_push_terms t SEMI JOIN (FROM steps WHERE complete) s ON s.run = t.run AND s.step = t.step
    WHERE ratio IS NOT NULL
)
SELECT *, CASE WHEN (a > 0 AND ratio > 1 + epsilon) OR (a < 0 AND ratio < 1 - epsilon) THEN 0
               ELSE a * ratio::DOUBLE END AS w
FROM credited;

-- What a method would have pushed, by step, verdict and rank: smoothing shared equally by the top `smoothed` candidates.
CREATE OR REPLACE MACRO push_under(method, alpha := 0.01, smoothed := 3, lambda_top1 := 1.1, epsilon := 0.2) AS TABLE
WITH pushed AS (
    SELECT run, step, verdict, forking,
           push_list(w, CASE WHEN method = 'simko' AND forking AND verdict = 'right' THEN alpha ELSE 0 END,
                     smoothing_shares(p, smoothed, 'uniform'), p, ids, token_id, logprob, collision) AS push
    FROM credit_under(method, lambda_top1, epsilon)
),
ranks AS (
    SELECT run, step, verdict, forking, unnest(push) AS push, generate_subscripts(push, 1) AS k FROM pushed
),
sums AS (
    SELECT run, step, coalesce(verdict, 'all') AS verdict, k, sum(push) AS push,
           sum(push) FILTER (forking) AS forking_push, count(*) AS n_tokens
    FROM ranks GROUP BY GROUPING SETS ((run, step, k), (run, step, k, verdict))
)
SELECT method AS method, run, step, verdict, k,
       push / max(n_tokens) OVER (PARTITION BY run, step, k) AS push,
       coalesce(forking_push, 0) / max(n_tokens) OVER (PARTITION BY run, step, k) AS forking_push, n_tokens
FROM sums;
