-- One row a step, verdict and process of the newest attempt; complete when every process has reported the step.
CREATE OR REPLACE VIEW rollups AS
SELECT r.*,
       count(DISTINCT r.worker) OVER (PARTITION BY r.run, r.attempt, r.step) = s.world_size AS complete
FROM all_rollups r
JOIN attempt_spans s ON s.run = r.run AND s.attempt = r.attempt AND r.step <= s.last_step;
