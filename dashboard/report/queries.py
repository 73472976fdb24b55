"""What the figures of a report are drawn from: the dashboard's views, averaged over the runs that bear one name.

`named` is a data frame (run, name): runs of one name become one line. In a run's report each run is its own name.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

_LAMBDA = """
SELECT n.name AS run, l.step, l.k, avg(l.lambda_k) AS lambda_k, avg(l.lambda_sample) AS lambda_sample,
       sum(l.n_responses) AS n_responses
FROM lambda_k l JOIN named n ON n.run = l.run
WHERE l.verdict = 'all' AND l.complete AND l.k <= 3 GROUP BY ALL ORDER BY n.name, l.k, l.step
"""
_PROFILE = """
WITH ends AS (SELECT run, min(step) AS first, max(step) AS last FROM lambda_k WHERE complete GROUP BY run)
SELECT n.name AS run, CASE WHEN l.step <= e.last - greatest(1, (e.last - e.first + 1) // 40)
                           THEN 'first' ELSE 'latest' END AS when,
       l.k, avg(l.probability) AS probability, avg(l.forking_probability) AS forking_probability, max(l.step) AS step
FROM lambda_k l JOIN ends e ON e.run = l.run JOIN named n ON n.run = l.run
WHERE l.verdict = 'all' AND l.complete AND (l.step < e.first + greatest(1, (e.last - e.first + 1) // 40)
      OR l.step > e.last - greatest(1, (e.last - e.first + 1) // 40))
GROUP BY ALL ORDER BY n.name, l.k
"""
_PASSES = """
SELECT n.name AS run, p.step, p.k, avg(p.pass_at_k) AS pass_at_k
FROM pass_at_k p JOIN named n ON n.run = p.run
WHERE p.split = 'heldout' AND p.source = (SELECT min(source) FROM pass_at_k WHERE split = 'heldout')
GROUP BY ALL ORDER BY n.name, p.k, p.step
"""
_HISTOGRAMS = """
SELECT n.name AS run, r.step, r.entropy_histogram AS histogram FROM rollups r JOIN named n ON n.run = r.run
WHERE r.complete AND r.step % {every} = 0 AND r.entropy_histogram IS NOT NULL
"""
_PUSH = """
SELECT n.name AS run, p.verdict, p.k, avg(p.push) AS push, avg(p.forking_push) AS forking_push
FROM push p JOIN named n ON n.run = p.run
WHERE p.verdict IN ('right', 'wrong') AND p.k <= 3 GROUP BY ALL ORDER BY n.name, p.verdict, p.k
"""
_UNDER = """
SELECT method, verdict, k, avg(push) AS push
FROM (FROM push_under('grpo') UNION ALL FROM push_under('simko', alpha := $2, smoothed := $3, lambda_top1 := $4))
WHERE verdict IN ('right', 'wrong') AND k <= 3 AND step % 16 = 1 AND list_contains($1, run)
GROUP BY ALL ORDER BY method, verdict, k
"""


class Averages:
    """Queries over named runs on one connection.

    Args:
        connection: with the store's views.
        named: columns run, name; in the order the names are to appear.
    """

    def __init__(self, connection: Any, named: pd.DataFrame) -> None:
        self._connection = connection
        self.names = list(dict.fromkeys(named["name"]))
        connection.register("named", named)

    def _frame(self, sql: str, *parameters: Any) -> pd.DataFrame:
        frame: pd.DataFrame = self._connection.execute(sql, list(parameters)).df()
        if "run" in frame:
            frame["run"] = pd.Categorical(frame["run"], categories=self.names, ordered=True)
            frame = frame.sort_values("run", kind="stable").astype({"run": str}).reset_index(drop=True)
        return frame

    def lambdas(self) -> pd.DataFrame:
        """run, step, k, lambda_k, lambda_sample, n_responses."""
        return self._frame(_LAMBDA)

    def profile(self) -> pd.DataFrame:
        """run, when, step, k, probability, forking_probability; over the first and last fortieth of the steps."""
        return self._frame(_PROFILE)

    def passes(self) -> pd.DataFrame:
        """run, step, k, pass_at_k."""
        return self._frame(_PASSES)

    def histograms(self, *, columns: int = 60) -> pd.DataFrame:
        """run, step, histogram."""
        last = self._connection.execute("SELECT coalesce(max(step), 0) FROM rollups").fetchall()[0][0]
        rows = self._frame(_HISTOGRAMS.format(every=max(1, -(-int(last) // columns))))
        summed = [
            {"run": run, "step": step, "histogram": np.sum([np.asarray(h) for h in part["histogram"]], axis=0)}
            for (run, step), part in rows.groupby(["run", "step"], sort=False)
        ]
        frame = pd.DataFrame(summed, columns=["run", "step", "histogram"])
        return frame.sort_values(["step"], kind="stable").sort_values(
            "run", key=lambda column: column.map(self.names.index), kind="stable"
        )

    def pushes(self) -> pd.DataFrame:
        """run, verdict, k, push, forking_push: mean over steps."""
        return self._frame(_PUSH).dropna(subset=["push"])

    def pushes_under(self, runs: list[str], *, alpha: float, smoothed: int, penalty: float) -> pd.DataFrame:
        """method, verdict, k, push: GRPO's and SimKO's push on the rollouts of some runs."""
        return self._frame(_UNDER, runs, alpha, smoothed, penalty)
