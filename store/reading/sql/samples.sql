-- One row a response that an evaluation beside training has drawn, also of one that is not complete yet.
CREATE OR REPLACE VIEW samples AS
SELECT * FROM all_samples;
