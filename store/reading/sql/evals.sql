-- One row a problem and evaluation. A resumed run may evaluate the step it starts from again: the newest attempt counts.
CREATE OR REPLACE VIEW evals AS
SELECT e.* FROM all_evals e
JOIN attempt_spans s ON s.run = e.run AND s.attempt = e.attempt AND e.step <= s.last_step
QUALIFY e.attempt = max(e.attempt) OVER (PARTITION BY e.run, e.step, e.split, e.source);
