-- responses that went another way than the likeliest one: how often the sampled token was not rank 1
-- `lowest_rank` is the worst rank sampled, `at` its position and `token` its text. Reads every token row.
-- $limit = 20: rows
SELECT run, step, response_id, any_value(r.prompt_id) AS prompt_id, any_value(r.verdict) AS verdict,
       count(*) FILTER (rank > 1) AS n_not_rank_1,
       avg((rank > 1)::INTEGER) AS share,
       max(rank) AS lowest_rank,
       arg_max(position, rank) AS at,
       arg_max(text, rank) AS token
FROM tokens t LEFT JOIN (SELECT run, attempt, response_id, prompt_id, verdict FROM responses) r
     USING (run, attempt, response_id)
GROUP BY run, attempt, step, response_id
HAVING n_not_rank_1 > 0
ORDER BY share DESC, n_not_rank_1 DESC, run, step, response_id
LIMIT $limit
