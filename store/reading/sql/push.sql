-- What the loss of a step pushes log p(rank k) towards, split by where the push comes from: the rows `right`, `wrong`
-- and `unjudged` of a step add up to its row `all`. `shift` is what scoring the same tokens again has measured. As in
-- `lambda_k`, the figures of a step that not every process has reported are NULL.
CREATE OR REPLACE VIEW push AS
WITH sums AS (
    SELECT run, step, coalesce(verdict, 'all') AS verdict, bool_and(complete) AS complete,
           sum(n_tokens)::BIGINT AS n_tokens, sum(n_rescored)::BIGINT AS n_rescored,
           {ranked:sum(sum_push_#) AS p#}, {ranked:sum(forking_sum_push_#) AS q#},
           {ranked:sum(sum_shift_#) AS s#}, {ranked:sum(forking_sum_shift_#) AS f#},
           -- one process that cannot tell makes the sum unknown
           {ranked:bool_or(n_tokens > 0 AND sum_push_# IS NULL) AS u#}
    FROM rollups
    GROUP BY GROUPING SETS ((run, step), (run, step, verdict))
),
ranks AS (
    SELECT run, step, verdict, complete, n_tokens,
           max(n_tokens) OVER (PARTITION BY run, step) AS of_tokens,
           max(n_rescored) OVER (PARTITION BY run, step) AS of_rescored,
           unnest([{ranked:struct_pack(k := #, p := CASE WHEN NOT u# THEN p# END, q := CASE WHEN NOT u# THEN q# END,
                                       s := s#, f := f#)}]) AS rank_k
    FROM sums
)
SELECT run, step, verdict, rank_k.k AS k,
       CASE WHEN complete THEN rank_k.p / nullif(of_tokens, 0) END AS push,
       CASE WHEN complete THEN rank_k.q / nullif(of_tokens, 0) END AS forking_push,
       CASE WHEN complete THEN rank_k.s / nullif(of_rescored, 0) END AS shift,
       CASE WHEN complete THEN rank_k.f / nullif(of_rescored, 0) END AS forking_shift,
       CASE WHEN complete THEN n_tokens END AS n_tokens, complete
FROM ranks
WHERE rank_k.p IS NOT NULL OR rank_k.s IS NOT NULL;
