-- what became of the problems: preserved, gained, lost or never solved, from the run's first rollouts to its last
-- A problem is solved at an end where some judged response to it was right. Only problems sampled at both ends count;
-- `share` is of those. `once_solved` counts problems unsolved at the end that were solved at some time (arXiv 2507.14843,
-- 2505.20196). More samples find more solved problems: compare ends of equal size. Reads responses alone.
-- $window = 0.5: share of the steps at each end
WITH ends AS (
    SELECT run, min(step) + (max(step) - min(step)) * $window AS early, max(step) - (max(step) - min(step)) * $window AS late
    FROM rollups GROUP BY run
),
problems AS (
    SELECT run, prompt_id,
           count(*) FILTER (step <= early) AS n_early, count(*) FILTER (step > late) AS n_late,
           count(*) FILTER (step <= early AND verdict = 'right') > 0 AS at_first,
           count(*) FILTER (step > late AND verdict = 'right') > 0 AS at_last,
           count(*) FILTER (verdict = 'right') > 0 AS ever
    FROM responses JOIN ends USING (run)
    WHERE verdict <> 'unjudged'
    GROUP BY run, prompt_id
    HAVING n_early > 0 AND n_late > 0
)
SELECT run,
       CASE WHEN at_first AND at_last THEN 'preserved' WHEN at_last THEN 'gained' WHEN at_first THEN 'lost'
            ELSE 'never' END AS transition,
       count(*) AS n_problems, count(*) / sum(count(*)) OVER (PARTITION BY run) AS share,
       count(*) FILTER (ever AND NOT at_last) AS once_solved,
       sum(n_early)::BIGINT AS n_early, sum(n_late)::BIGINT AS n_late
FROM problems
GROUP BY run, transition
ORDER BY run, transition
