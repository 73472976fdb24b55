-- how many different responses, and different right ones, k draws per problem would give, by step
-- Mean over the responses y of (1 - (1 - π(y))^k) / π(y), with π(y) from the logged tokens: unbiased, between 1 and k (right
-- ones: between 0 and k). Where no response is likely it is about k and tells nothing, as for long chains of thought:
-- `median_probability` shows that. π is the policy that scored the response. Responses with every token logged alone count;
-- a response cut at the limit counts by what was sampled. Reads every token row.
-- $k = 64: draws per problem
WITH scored AS (
    SELECT run, attempt, step, response_id, sum(logprob::DOUBLE) AS logprob, count(*) AS n
    FROM tokens GROUP BY ALL
),
drawn AS (
    SELECT s.run, s.step, r.verdict, s.logprob,
           CASE WHEN s.logprob >= 0 THEN 1.0
                -- for tiny π the limit k, without cancellation
                WHEN exp(s.logprob) * $k < 1e-6 THEN $k
                ELSE (1 - (1 - exp(s.logprob)) ** $k) / exp(s.logprob) END AS distinct_k
    FROM scored s JOIN responses r ON r.run = s.run AND r.attempt = s.attempt AND r.response_id = s.response_id
    WHERE s.n = r.n_tokens AND isfinite(s.logprob)
)
SELECT run, step, count(*) AS n_responses, avg(distinct_k) AS distinct_responses,
       avg(CASE WHEN verdict = 'right' THEN distinct_k ELSE 0 END) AS distinct_right_responses,
       exp(median(logprob)) AS median_probability
FROM drawn
GROUP BY run, step
ORDER BY run, step
