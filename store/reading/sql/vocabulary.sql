-- The text of each token id of a run; runs of one tokenizer share theirs in `texts`.
CREATE OR REPLACE VIEW vocabulary AS
SELECT i.run, t.token_id, t.text FROM run_info i JOIN texts t ON t.vocabulary = i.vocabulary;
