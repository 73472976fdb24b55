"""What the rules look at: a run's figures by step and by rollout batch since its figures last changed their meaning.

Figures come from roll-ups, which count every token. Steps that not every process has reported are left out, as in every
view. Rules that need token rows read them on a few steps alone (`token_steps`), so that a run of 50 million tokens is
judged in seconds. What cannot be told raises `Skip`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import duckdb
import numpy as np
import pandas as pd

from ...layout.schema import ENTROPY_BIN_WIDTH
from ...reading.catalog import Catalog
from ...reading.loaded_runs import Run
from ..trends import FEWEST_POINTS, Trend, trend
from .rule import Skip

OPEN_ENTROPY = 0.7
"""Nats from which a token is an open choice, whatever its response: the first bin above ln 2, two even candidates."""
MOST_HOLES = 0.2
"""Share of the steps that may be missing from a trend; more may hide one."""
TOKEN_STEPS = 16
"""Steps whose token rows are read, spread evenly: of 200 steps with 50 million rows these are 4 million."""
WINDOW = 0.2
"""Share of the steps at the run's end that stands for how it is now."""
VIEWS = ("tokens", "responses", "rollups", "steps", "evals", "runs", "costs")
"""The views that rules ask: making all of them takes a tenth of a second."""

_STEPS = """
SELECT step, bool_and(complete) AS complete, sum(n_tokens)::DOUBLE AS n_tokens, sum(n_nonfinite)::DOUBLE AS n_nonfinite,
       sum(n_responses)::DOUBLE AS n_responses,
       sum(sum_entropy) / nullif(sum(n_tokens), 0) AS entropy,
       sum(list_sum(entropy_histogram[{first_open}:]))::DOUBLE / nullif(sum(n_tokens), 0) AS open_share,
       {lambdas},
       {by_verdict}
FROM rollups WHERE step > $after GROUP BY step ORDER BY step
"""


class RunLog:
    """One run as the rules see it.

    Args:
        catalog: opened on this run alone.
        run: the run.
    """

    def __init__(self, catalog: Catalog, run: Run) -> None:
        self.connection = catalog.connection
        self.problems = tuple(catalog.problems)
        self.run = run
        self.name = run.name
        for table in ("rollups", "responses", "costs", "evals"):
            self._hold(table)

    @cached_property
    def status(self) -> dict[str, Any]:
        """Its row of the view `runs`."""
        return {str(name): value for name, value in self.frame("FROM runs").iloc[0].items()}

    @property
    def running(self) -> bool:
        """Whether its writer may still write."""
        return self.status["status"] in ("running", "silent")

    @cached_property
    def break_step(self) -> int:
        """The step after which every figure means the same; 0 where that is the whole run."""
        return int(self.value("SELECT coalesce(max(step), 0) FROM breaks"))

    @cached_property
    def steps(self) -> pd.DataFrame:
        """One row per step since the last break, by `step`: `complete`, counts, and figures in nats.

        Raises:
            Skip: nothing is logged there.
        """
        frame = self.frame(_STEPS.format(**self._columns()), after=self.break_step)
        if frame.empty:
            raise Skip(f"no step is logged{self.since}")
        return frame.set_index("step")

    @property
    def since(self) -> str:
        """` since step 40, where the meaning of its figures changed`; empty where it did not."""
        return f" since step {self.break_step}, where its figures changed their meaning" if self.break_step else ""

    @cached_property
    def span(self) -> tuple[int, int]:
        """First and last complete step since the last break."""
        complete = self.steps.index[self.steps.complete]
        if not len(complete):
            raise Skip(f"no step is complete{self.since}")
        return int(complete[0]), int(complete[-1])

    @cached_property
    def window(self) -> tuple[int, int]:
        """First and last step of the run's end."""
        first, last = self.span
        return max(first, last - int((last - first + 1) * WINDOW) + 1), last

    @cached_property
    def stride(self) -> int:
        """Steps from one logged step to the next, as most of them are: 1 unless every N-th is logged."""
        gaps = np.diff(self.steps.index.to_numpy())
        return int(np.bincount(gaps).argmax()) if len(gaps) else 1

    @cached_property
    def holes(self) -> list[int]:
        """The steps that are not there between the first and the last one."""
        index = self.steps.index
        return sorted(set(range(int(index[0]), int(index[-1]) + 1, self.stride)) - set(map(int, index)))

    @cached_property
    def batches(self) -> pd.DataFrame:
        """Figures of complete steps by rollout batch: means over the steps trained on it, by its first step.

        Steps on one batch score the same responses and are no independent points.

        Raises:
            Skip: too many steps are missing.
        """
        complete = self.steps[self.steps.complete]
        missing = len(self.steps) - len(complete) + len(self.holes)
        share = missing / (len(self.steps) + len(self.holes))
        if share > MOST_HOLES:
            raise Skip(f"{share:.0%} of its steps are missing, a trend over the others could mislead")
        begins = self.frame(
            "SELECT DISTINCT step FROM responses WHERE step > $after ORDER BY step", after=self.break_step
        )
        step = complete.index.to_numpy()
        first = begins.step.to_numpy() if len(begins) else step
        place = np.searchsorted(first, step, side="right") - 1
        batch = np.where(place >= 0, first[np.maximum(place, 0)], step)
        return complete.groupby(batch).mean()

    def trend(self, figure: str, name: str) -> Trend:
        """The trend of a figure over rollout batches, per step.

        Args:
            figure: a column of `batches`.
            name: what it is called.

        Raises:
            Skip: it was not logged, or the run is too short.
        """
        return self.trend_of(self.batches[figure], name)

    def trend_of(self, values: pd.Series[float], name: str) -> Trend:
        """The trend of values by rollout batch.

        Raises:
            Skip: there are too few.
        """
        values = values.astype(float).replace([np.inf, -np.inf], np.nan).dropna()
        if not len(values):
            raise Skip(f"{name} is not logged{self.since}")
        if len(values) < FEWEST_POINTS:
            raise Skip(
                f"the run is too short: {name} of {len(values)} rollout batches{self.since}, of {FEWEST_POINTS} needed"
            )
        return trend(values.index.to_numpy(), values.to_numpy())

    def need_ranks(self, k: int) -> None:
        """Make sure that Λ(1..k) is logged.

        Raises:
            Skip: the run logs fewer candidates.
        """
        if any(self.steps[f"lambda_{rank}"].isna().all() for rank in range(1, k + 1)):
            raise Skip(f"fewer than {k} ranked candidates are logged (--probe_k)")

    def need_responses(self) -> None:
        """Make sure that responses are logged.

        Raises:
            Skip: none is.
        """
        if not self.value("SELECT count(*) FROM responses WHERE step > $after", after=self.break_step):
            raise Skip(f"no responses are logged{self.since}")

    def token_steps(self, count: int = TOKEN_STEPS, within: tuple[int, int] | None = None) -> list[int]:
        """Complete steps whose token rows were written, at most `count` of them, spread evenly, the last one included.

        Raises:
            Skip: there is none.
        """
        every = int(self.value("SELECT coalesce(max(rows_every), 1) FROM run_info"))
        first, last = within or self.span
        steps = [s for s in map(int, self.steps.index[self.steps.complete]) if first <= s <= last]
        steps = [s for s in steps if s == 1 or s % every == 0]
        if not steps:
            raise Skip(f"no token rows are logged{self.since}")
        places = np.unique(np.linspace(0, len(steps) - 1, min(count, len(steps))).round().astype(int))
        return [steps[place] for place in places]

    def frame(self, sql: str, **parameters: Any) -> pd.DataFrame:
        """The rows of a query."""
        return self.connection.execute(sql, parameters or None).df()

    def value(self, sql: str, **parameters: Any) -> Any:
        """The first value of a query's first row."""
        row = self.connection.execute(sql, parameters or None).fetchone()
        return row[0] if row else None

    def _hold(self, table: str) -> None:
        """Read a small table once into memory, without texts; every view on it then asks that.

        Where a file cannot be read to its end, the view stays as it is, and the rules that ask it are skipped.
        """
        texts = "REPLACE (NULL::VARCHAR AS prompt, NULL::VARCHAR AS completion)" if table == "responses" else ""
        with contextlib.suppress(duckdb.Error):
            self.connection.execute(f"CREATE OR REPLACE TABLE held_{table} AS SELECT * {texts} FROM all_{table}")
            self.connection.execute(f"CREATE OR REPLACE VIEW all_{table} AS FROM held_{table}")

    def _columns(self) -> dict[str, Any]:
        columns = self._rollup_columns
        ranks = [k for k in (1, 2, 3) if f"response_sum_logp_{k}" in columns]
        lambdas = [f"sum(response_sum_logp_{k}) / nullif(sum(n_responses), 0) AS lambda_{k}" for k in ranks]
        lambdas += [f"NULL::DOUBLE AS lambda_{k}" for k in (1, 2, 3) if k not in ranks]
        verdicts = [
            f"sum(response_sum_logp_1) FILTER (verdict = '{v}') / nullif(sum(n_responses) FILTER (verdict = '{v}'), 0) "
            f"AS {v}_1"
            for v in ("right", "wrong")
        ]
        first_open = round(OPEN_ENTROPY / ENTROPY_BIN_WIDTH) + 1
        return {"lambdas": ", ".join(lambdas), "by_verdict": ", ".join(verdicts), "first_open": first_open}

    @cached_property
    def _rollup_columns(self) -> set[str]:
        return {row[0] for row in self.connection.execute("DESCRIBE all_rollups").fetchall()}


def listed(steps: Sequence[int], most: int = 5) -> str:
    """`step 7`, `steps 7, 8, 9, 10, 11 and 40 more`."""
    names = ", ".join(map(str, steps[:most]))
    more = f" and {len(steps) - most} more" if len(steps) > most else ""
    return f"step{'s' * (len(steps) > 1)} {names}{more}"


def binomial_lower(hits: float, count: float) -> float:
    """Lower end of Wilson's 95 % interval of a share: what is surely reached; 0 where nothing was counted."""
    if count <= 0:
        return 0.0
    z = 1.96
    share = hits / count
    middle = share + z * z / (2 * count)
    spread = z * float(np.sqrt(share * (1 - share) / count + z * z / (4 * count * count)))
    return max(0.0, (middle - spread) / (1 + z * z / count))
