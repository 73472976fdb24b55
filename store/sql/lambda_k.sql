-- Λ(k) and its kin by step, verdict and rank, from the exact sums of the roll-ups.
CREATE OR REPLACE VIEW lambda_k AS
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
SELECT run, step, verdict, rank_k.k AS k,
       rank_k.r / nullif(n_responses, 0) AS lambda_k,
       rank_k.t / nullif(n_tokens, 0) AS token_mean,
       rank_k.f / nullif(n_forking, 0) AS forking_mean,
       rank_k.p / nullif(n_tokens, 0) AS probability,
       rank_k.q / nullif(n_forking, 0) AS forking_probability,
       response_sum_logprob / nullif(n_responses, 0) AS lambda_sample,
       n_responses, n_tokens, complete
FROM ranks
WHERE rank_k.r IS NOT NULL AND n_responses > 0;
