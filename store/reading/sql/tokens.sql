-- One row a scored response token of the newest attempt of its step, with the candidates as lists and the token's text.
-- Written for scans: DuckDB leaves the joins with grouped texts out of an aggregation that does not ask for `text`,
-- and no attempt is looked up but those that a later one partly hides.
CREATE OR REPLACE VIEW tokens AS
SELECT t.*, [{ranked:t.logp_#}] AS logp, [{ranked:t.id_#}] AS ids, v.text
FROM (
    SELECT a.* FROM all_tokens a
    LEFT JOIN (SELECT run, attempt, min(last_step) AS last_step FROM attempt_spans
               WHERE last_step < 2147483647 GROUP BY run, attempt) s
      ON s.run = a.run AND s.attempt = a.attempt
    WHERE s.last_step IS NULL OR a.step <= s.last_step
) t
LEFT JOIN (SELECT run, any_value(vocabulary) AS vocabulary FROM run_info GROUP BY run) i ON i.run = t.run
LEFT JOIN (SELECT vocabulary, token_id, any_value(text) AS text FROM texts GROUP BY vocabulary, token_id) v
  ON v.vocabulary = i.vocabulary AND v.token_id = t.token_id;
