-- the tokens sampled at most forks, with how open the choice was
-- Probabilities and entropy (nats) are means over the forks where the token was sampled; `share` is how many of its
-- occurrences are forks. Reads every token row.
-- $limit = 20: rows
SELECT run, token_id, any_value(text) AS text,
       count(*) FILTER (forking) AS n_forking,
       avg(forking::INTEGER) AS share,
       avg(entropy) FILTER (forking) AS entropy,
       avg(exp(logp_1)) FILTER (forking) AS probability_1,
       avg(exp(logp_2)) FILTER (forking) AS probability_2,
       avg(exp(logprob)) FILTER (forking) AS probability_sampled
FROM tokens
GROUP BY run, token_id
HAVING count(*) FILTER (forking) > 0
ORDER BY n_forking DESC, run, token_id
LIMIT $limit
