"""How many right answers of a problem are still alive at the end: distinct ones among its last rollouts.

A right answer counts where it makes up at least a twentieth of a problem's responses over the last tenth of the steps.
Only problems with a hundred responses there can tell, so this speaks of tasks of few problems, such as the tree.
"""

from __future__ import annotations

from .outcomes import Outcomes
from .seed_bootstrap import Estimate, estimate

_MODES = """
WITH ends AS (SELECT run, max(step) AS last, max(step) - min(step) + 1 AS steps FROM responses GROUP BY run),
late AS (
    SELECT r.run, r.prompt_id, r.completion, r.verdict FROM responses r JOIN ends e ON e.run = r.run
    WHERE r.step > e.last - greatest(1, e.steps // 10)
),
counted AS (SELECT run, prompt_id, completion, verdict, count(*) AS n FROM late GROUP BY ALL),
problems AS (
    SELECT run, prompt_id, count(*) FILTER (verdict = 'right' AND n >= total / 20) AS modes
    FROM (SELECT *, sum(n) OVER (PARTITION BY run, prompt_id) AS total FROM counted)
    WHERE total >= 100 GROUP BY run, prompt_id
)
SELECT run, avg(modes) AS modes FROM problems GROUP BY run
"""


def modes_kept(outcomes: Outcomes) -> dict[str, Estimate]:
    """Label → distinct right answers per problem; labels whose runs cannot tell are left out."""
    result = dict(outcomes.study.catalog.connection.execute(_MODES).fetchall())
    kept = {}
    for label in outcomes.labels:
        values = [result[o.planned.run] for o in outcomes.of(label).values() if o.planned.run in result]
        if values:
            kept[label] = estimate(values)
    return kept
