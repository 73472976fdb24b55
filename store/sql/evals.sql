-- One row a problem and evaluation of the newest attempt.
CREATE OR REPLACE VIEW evals AS
SELECT e.* FROM all_evals e
JOIN attempt_spans s ON s.run = e.run AND s.attempt = e.attempt AND e.step <= s.last_step;
