-- Up to which step an attempt's rows count: the start of the first later attempt that has logged anything.
CREATE OR REPLACE VIEW attempt_spans AS
SELECT a.run, a.attempt, a.world_size,
       coalesce((SELECT min(b.start_step) FROM attempts b WHERE b.run = a.run AND b.attempt > a.attempt AND b.logged),
                2147483647) AS last_step
FROM attempts a;
