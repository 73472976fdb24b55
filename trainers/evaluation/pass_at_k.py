"""pass@k of a policy on a task's problems: exact where right answers can be enumerated, sampled and unbiased anywhere.

The result carries the columns of the `evals` table (all but `attempt`, `worker` and `step`), one row a problem and
source, so that every pass@k, interval and comparison can be recomputed by SQL.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ...store.analysis.estimators import bootstrap_interval, pass_at_k, pass_at_k_exact
from ...store.layout.schema import K_GRID, K_SHOWN
from ..errors import EvaluationImpossible, HeldoutMissing
from ..tasks.base import Disagreement, Task, disagreement_of
from .exact import exact_success
from .ranks import ALONE, Ranks
from .sampling import sample_responses

Floats = npt.NDArray[np.float64]
Source = Literal["exact", "sampled"]
_APART = 1_000_003
"""Between the seeds of processes that share an evaluation."""


@dataclass(frozen=True)
class PassAtKEstimate:
    """pass@k at one k: mean over problems and a 95 % bootstrap interval over problems (NaN with fewer than two)."""

    mean: float
    low: float
    high: float


@dataclass
class Evaluation:
    """What one evaluation found.

    Attributes:
        columns: of the `evals` table: split, source, prompt_id, n, c, n_unjudged, success.
        curves: per source, pass@k by k. A sampled curve ends at the largest number of judged responses.
        disagreement: of the task's two graders about the sampled responses; None with one grader.
    """

    columns: dict[str, list[Any]] = field(default_factory=dict)
    curves: dict[Source, dict[int, PassAtKEstimate]] = field(default_factory=dict)
    disagreement: Disagreement | None = None

    def __len__(self) -> int:
        """Rows for the `evals` table."""
        return len(self.columns.get("prompt_id", []))

    @property
    def source(self) -> Source:
        """The better source there is."""
        return "exact" if "exact" in self.curves else "sampled"

    @property
    def pass_at_k(self) -> dict[int, float]:
        """pass@k by k, of the better source."""
        return {k: value.mean for k, value in self.curves.get(self.source, {}).items()}

    @property
    def unjudged(self) -> int:
        """Responses that could not be judged."""
        return sum(n or 0 for n in self.columns.get("n_unjudged", []))

    @property
    def line(self) -> str:
        """The result in one line for people."""
        curve = self.curves.get(self.source, {})
        shown = [k for k in K_SHOWN if k in curve] or list(curve)
        if curve and self.source == "sampled" and max(curve) not in shown:
            shown.append(max(curve))
        parts = [f"pass@{k} {curve[k].mean:.3f} [{curve[k].low:.3f}, {curve[k].high:.3f}]" for k in shown]
        problems = sum(source == self.source for source in self.columns.get("source", []))
        text = f"{'  '.join(parts) or 'nothing judged'}  ({self.source}, {problems} problems)"
        if self.unjudged:
            text += f"  {self.unjudged} unjudged"
        if self.disagreement is not None and self.disagreement.count:
            text += (
                f"  graders disagree on {self.disagreement.count} of {self.disagreement.judged} responses "
                f"(the paper's rules: {self.disagreement.right_for_second} more right, "
                f"{self.disagreement.wrong_for_second} more wrong)"
            )
        return text

    def add(self, split: str, source: Source, ids: Sequence[str], **values: Sequence[Any]) -> None:
        """Append one row a problem; values not given are NULL."""
        blank: list[Any] = [None] * len(ids)
        rows: dict[str, list[Any]] = {
            "split": [split] * len(ids),
            "source": [source] * len(ids),
            "prompt_id": list(ids),
        }
        for name in ("n", "c", "n_unjudged", "success"):
            rows[name] = list(values.get(name, blank))
        for name, column in rows.items():
            self.columns.setdefault(name, []).extend(column)


def evaluate(
    model: Any,
    tokenizer: Any,
    task: Task,
    *,
    split: Literal["heldout", "validation", "train"] = "heldout",
    samples: int = 0,
    limit: int | None = None,
    temperature: float = 1.0,
    top_p: float = 1.0,
    max_new_tokens: int | None = None,
    seed: int = 0,
    exact: bool | None = None,
    ranks: Ranks = ALONE,
) -> Evaluation:
    """Measure pass@k.

    Args:
        model: a causal LM; its mode and the global random state are left as they were.
        tokenizer: its tokenizer.
        task: problems and judge.
        split: which problems.
        samples: responses drawn for each problem; 0 draws none.
        limit: only that many problems, drawn once and for all: every evaluation sees the same ones.
        temperature: of the policy, exact and sampled.
        top_p: nucleus of the sampled part.
        max_new_tokens: longest response; default: the task's.
        seed: of the draws.
        exact: whether to compute the exact probability; default: where the task enumerates its answers.
        ranks: the processes that share the work; all of them call this and get the whole result.

    Raises:
        HeldoutMissing: the task has no held-out problems.
        EvaluationImpossible: neither exact nor sampled was possible as asked.
    """
    problems = {"heldout": task.heldout, "validation": task.validation, "train": task.train}[split]
    if problems is None:
        raise HeldoutMissing(f"task {task.name} has no {split} problems; give some with --eval_dataset")
    if limit is not None:
        problems = problems.select(_subset(len(problems), limit))
    if exact is None:
        exact = task.enumerates_answers
    if exact and not task.enumerates_answers:
        raise EvaluationImpossible(f"the right answers of task {task.name} cannot be enumerated; sample some instead")
    if not exact and samples < 1:
        raise EvaluationImpossible(f"task {task.name} has no exact pass@k; ask for at least one sample a problem")

    own, ids = ranks.own(len(problems)), list(problems["prompt_id"])
    mine = problems.select(ranks.rows(len(problems)))
    prompts, answers = list(mine["prompt"]), list(mine["answer"])
    result = Evaluation()
    if exact:
        training = model.training
        try:
            measured = exact_success(
                model.eval(), tokenizer, prompts, answers, temperature=temperature, most=ranks.most
            )
        finally:
            model.train(training)
        success = np.array(ranks.together(measured[:own].tolist()))
        result.add(split, "exact", ids, success=success.tolist())
        result.curves["exact"] = _curve({k: pass_at_k_exact(success, k) for k in K_GRID}, seed)
    if samples:
        texts = sample_responses(
            model,
            tokenizer,
            prompts,
            samples,
            max_new_tokens=max_new_tokens or task.max_completion_length,
            temperature=temperature,
            top_p=top_p,
            seed=seed + _APART * ranks.index,
            exact=task.enumerates_answers,
            most=ranks.most,
        )
        counts = count_verdicts(task, texts[:own], answers[:own])
        n, c, unjudged = (np.array(ranks.together(count.tolist()), np.int64) for count in counts)
        result.disagreement = _sum(ranks.every(disagreement_of(task)))
        result.add(split, "sampled", ids, n=n.tolist(), c=c.tolist(), n_unjudged=unjudged.tolist())
        result.curves["sampled"] = sampled_curve(n, c, seed=seed)
    return result


def _sum(parts: Sequence[Disagreement | None]) -> Disagreement | None:
    known = [part for part in parts if part is not None]
    if not known:
        return None
    return Disagreement(
        sum(part.judged for part in known),
        sum(part.right_for_second for part in known),
        sum(part.wrong_for_second for part in known),
    )


def _subset(n: int, limit: int) -> list[int]:
    return sorted(random.Random(0).sample(range(n), min(limit, n)))


def count_verdicts(
    task: Task, texts: Sequence[Sequence[str]], answers: Sequence[Any]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Judge responses of P problems: (P,) judged, (P,) right among them, (P,) unjudged."""
    owner = [i for i, responses in enumerate(texts) for _ in responses]
    verdicts = task.judge([text for responses in texts for text in responses], [answers[i] for i in owner])
    counts = {name: np.zeros(len(texts), np.int64) for name in ("right", "wrong", "unjudged")}
    for i, verdict in zip(owner, verdicts, strict=True):
        counts[verdict][i] += 1
    return counts["right"] + counts["wrong"], counts["right"], counts["unjudged"]


def sampled_curve(n: npt.ArrayLike, c: npt.ArrayLike, *, seed: int = 0) -> dict[int, PassAtKEstimate]:
    """Unbiased pass@k by k, over the problems with at least k judged responses (Chen et al. 2021).

    Args:
        n: (P,) judged responses.
        c: (P,) right ones among them.
        seed: of the bootstrap.
    """
    estimates = {k: pass_at_k(n, c, k) for k in K_GRID}
    available = {k: values[~np.isnan(values)] for k, values in estimates.items()}
    return _curve({k: values for k, values in available.items() if len(values)}, seed)


def _curve(values: dict[int, Floats], seed: int) -> dict[int, PassAtKEstimate]:
    """Means and intervals by k; k's that equally many problems reach share one draw of the bootstrap."""
    curve = {}
    for size in sorted({len(v) for v in values.values()}, reverse=True):
        ks = [k for k in values if len(values[k]) == size]
        lows, highs = bootstrap_interval(np.stack([values[k] for k in ks], axis=1), seed=seed)
        for k, low, high in zip(ks, lows, highs, strict=True):
            curve[k] = PassAtKEstimate(float(values[k].mean()), float(low), float(high))
    return dict(sorted(curve.items()))
