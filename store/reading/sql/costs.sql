-- What logging cost each step, one row a process, of the newest attempt. A device works beside the training thread, so
-- what the probe takes of a step is the longer of the two.
CREATE OR REPLACE VIEW costs AS
SELECT c.*, greatest(c.capture_ms, c.device_ms) AS probe_ms FROM all_costs c
JOIN attempt_spans s ON s.run = c.run AND s.attempt = c.attempt AND c.step <= s.last_step;
