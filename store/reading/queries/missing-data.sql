-- what is missing from the logs: micro-batches dropped, tokens without finite statistics, steps not every process reported
SELECT r.run, r.status, r.attempts, r.last_step, r.dropped, r.n_nonfinite,
       coalesce(i.incomplete, 0) AS incomplete_steps, i.first_incomplete
FROM runs r
LEFT JOIN (SELECT run, count(DISTINCT step) AS incomplete, min(step) AS first_incomplete
           FROM rollups WHERE NOT complete GROUP BY run) i USING (run)
ORDER BY r.run
