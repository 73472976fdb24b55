-- What the loss of a step pushes the entropy towards, split as in `push`: the rows `right`, `wrong` and `unjudged` of a step
-- add up to its row `all`. `shift` is how the entropy of the same tokens changed where they were scored again.
CREATE OR REPLACE VIEW entropy_push AS
WITH sums AS (
    SELECT run, step, coalesce(verdict, 'all') AS verdict, bool_and(complete) AS complete,
           sum(n_tokens)::BIGINT AS n_tokens, sum(n_rescored)::BIGINT AS n_rescored,
           sum(sum_entropy_push) AS push, sum(forking_sum_entropy_push) AS forking_push,
           sum(sum_entropy_shift) AS shift, sum(forking_sum_entropy_shift) AS forking_shift,
           -- one process that cannot tell makes the sum unknown
           bool_or(n_tokens > 0 AND sum_entropy_push IS NULL) AS no_push,
           bool_or(n_rescored > 0 AND sum_entropy_shift IS NULL) AS no_shift
    FROM rollups
    GROUP BY GROUPING SETS ((run, step), (run, step, verdict))
),
whole AS (
    SELECT *, nullif(max(n_tokens) OVER (PARTITION BY run, step), 0) AS of_tokens,
           nullif(max(n_rescored) OVER (PARTITION BY run, step), 0) AS of_rescored
    FROM sums
)
SELECT run, step, verdict,
       CASE WHEN complete AND NOT no_push THEN push / of_tokens END AS entropy_push,
       CASE WHEN complete AND NOT no_push THEN forking_push / of_tokens END AS forking_push,
       CASE WHEN complete AND no_shift IS NOT TRUE THEN shift / of_rescored END AS shift,
       CASE WHEN complete AND no_shift IS NOT TRUE THEN forking_shift / of_rescored END AS forking_shift,
       CASE WHEN complete THEN n_tokens END AS n_tokens, complete
FROM whole
WHERE (push IS NOT NULL AND NOT no_push) OR shift IS NOT NULL;
