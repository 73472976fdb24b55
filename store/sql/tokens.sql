-- One row a scored response token of the newest attempt of its step, with the candidates as lists and the token's text.
CREATE OR REPLACE VIEW tokens AS
SELECT t.*, [{ranked:t.logp_#}] AS logp, [{ranked:t.id_#}] AS ids, v.text
FROM all_tokens t
JOIN attempt_spans s ON s.run = t.run AND s.attempt = t.attempt AND t.step <= s.last_step
LEFT JOIN vocabulary v ON v.run = t.run AND v.token_id = t.token_id;
