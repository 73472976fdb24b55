-- Sums of roll-ups by step, verdict and rank: the dashboard keeps this one as a table.
CREATE OR REPLACE VIEW lambda_sums AS
WITH sums AS (
    SELECT run, step, coalesce(verdict, 'all') AS verdict, bool_and(complete) AS complete,
           sum(n_responses)::BIGINT AS n_responses, sum(n_tokens)::BIGINT AS n_tokens,
           sum(n_forking)::BIGINT AS n_forking, sum(response_sum_logprob) AS response_sum_logprob,
           {ranked:sum(response_sum_logp_#) AS r#}, {ranked:sum(sum_logp_#) AS t#}, {ranked:sum(sum_p_#) AS p#},
           {ranked:sum(forking_sum_logp_#) AS f#}, {ranked:sum(forking_sum_p_#) AS q#}
    FROM rollups
    GROUP BY GROUPING SETS ((run, step), (run, step, verdict))
),
ranks AS (
    SELECT run, step, verdict, complete, n_responses, n_tokens, n_forking, response_sum_logprob,
           unnest([{ranked:struct_pack(k := #, r := r#, t := t#, p := p#, f := f#, q := q#)}]) AS rank_k
    FROM sums
)
SELECT run, step, verdict, rank_k.k AS k, complete, n_responses, n_tokens, n_forking, response_sum_logprob,
       rank_k.r AS r, rank_k.t AS t, rank_k.p AS p, rank_k.f AS f, rank_k.q AS q
FROM ranks;

-- Λ(k) and its kin by step, verdict and rank, from the exact sums of the roll-ups. A step that not every process has
-- reported has its rows, with `complete` false and every figure NULL: a mean over steps leaves it out.
CREATE OR REPLACE VIEW lambda_k AS
SELECT run, step, verdict, k,
       CASE WHEN complete THEN r / nullif(n_responses, 0) END AS lambda_k,
       CASE WHEN complete THEN t / nullif(n_tokens, 0) END AS token_mean,
       CASE WHEN complete THEN f / nullif(n_forking, 0) END AS forking_mean,
       CASE WHEN complete THEN p / nullif(n_tokens, 0) END AS probability,
       CASE WHEN complete THEN q / nullif(n_forking, 0) END AS forking_probability,
       CASE WHEN complete THEN response_sum_logprob / nullif(n_responses, 0) END AS lambda_sample,
       CASE WHEN complete THEN n_responses END AS n_responses, CASE WHEN complete THEN n_tokens END AS n_tokens, complete
FROM lambda_sums
WHERE r IS NOT NULL AND n_responses > 0;
