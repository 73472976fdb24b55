-- What logging cost each step, one row a process, of the newest attempt.
CREATE OR REPLACE VIEW costs AS
SELECT c.* FROM all_costs c
JOIN attempt_spans s ON s.run = c.run AND s.attempt = c.attempt AND c.step <= s.last_step;
