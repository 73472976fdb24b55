-- What logging has cost each run so far: the probe's share of the steps' time, and room on disk.
CREATE OR REPLACE VIEW run_costs AS
WITH spent AS (
    SELECT run, sum(probe_ms + queue_wait_ms) FILTER (step_ms IS NOT NULL) / nullif(sum(step_ms), 0) AS share,
           avg(step_ms) AS step_ms, avg(probe_ms) AS probe_ms, max(queue_wait_ms) AS longest_wait_ms,
           sum(write_ms) AS write_ms, sum(n_dropped)::BIGINT AS n_dropped
    FROM costs GROUP BY run
),
room AS (
    SELECT run, sum(n_bytes)::BIGINT AS n_bytes, sum(n_files)::BIGINT AS n_files,
           sum(n_bytes) FILTER (table_name = 'tokens') / nullif(sum(n_rows) FILTER (table_name = 'tokens'), 0)
               AS bytes_per_token,
           (sum(n_rows) FILTER (table_name = 'tokens'))::BIGINT AS n_token_rows
    FROM sizes GROUP BY run
)
SELECT i.run, s.share, s.step_ms, s.probe_ms, s.longest_wait_ms, s.write_ms, s.n_dropped,
       coalesce(r.n_bytes, 0) AS n_bytes, coalesce(r.n_files, 0) AS n_files, r.bytes_per_token,
       coalesce(r.n_token_rows, 0) AS n_token_rows
FROM run_info i LEFT JOIN spent s USING (run) LEFT JOIN room r USING (run);
