-- One row a response of the newest attempt of its step.
CREATE OR REPLACE VIEW responses AS
SELECT r.* FROM all_responses r
JOIN attempt_spans s ON s.run = r.run AND s.attempt = r.attempt AND r.step <= s.last_step;
