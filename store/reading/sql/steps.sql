-- One row a step of the newest attempt: which of its processes have reported it.
CREATE OR REPLACE VIEW steps AS
SELECT r.run, r.step, r.attempt, count(DISTINCT r.worker)::INTEGER AS reported, any_value(a.world_size) AS world_size,
       list_filter(range(any_value(a.world_size))::INTEGER[], lambda w: NOT list_contains(list(DISTINCT r.worker), w))
           AS missing,
       bool_and(r.complete) AS complete
FROM rollups r JOIN attempts a ON a.run = r.run AND a.attempt = r.attempt
GROUP BY r.run, r.step, r.attempt;
