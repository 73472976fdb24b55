"""Studies written by the store alone, whose every figure is known: for tests of what is said about them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from simko.store import Recorder, TokenBatch
from simko.store.layout.run import create_or_resume
from simko.store.writing.batch import Credit, Shift
from simko.store.writing.push import entropy_push, push_on_ranks

PROBLEMS = 40
EVALS = (0, 20, 40)
STEPS = (1, *range(20, 31), 40)
"""Those whose tokens are logged: the ends, that of an evaluation, and ten times a step and the next."""


@dataclass
class Made:
    """A run to write: its success probabilities at each evaluation and Λ(1) at the start and the end."""

    label: str
    method: str
    seed: int
    success: Any  # (E, P) or (E,)
    lambda_1: tuple[float, float] = (-0.3, -0.1)
    role: str = "compare"
    scale: float = 1.0
    status: str = "finished"
    options: dict[str, Any] = field(default_factory=dict)
    validation: Any = None  # (E, Q): success probabilities of validation problems

    @property
    def name(self) -> str:
        """Folder's name."""
        return f"{self.label.lower()}-{self.scale:g}x-seed{self.seed}"


def write_study(folder: Path, made: list[Made], planned_only: tuple[str, ...] = ()) -> Path:
    """Write `study.json` and the runs; names in `planned_only` are planned and not there."""
    folder.mkdir(parents=True, exist_ok=True)
    runs = [
        {
            "run": run.name, "label": run.label, "method": run.method, "role": run.role, "seed": run.seed,
            "base": f"base-{run.seed % 2}", "learning_rate_scale": run.scale, "options": run.options,
        }
        for run in made
    ]  # fmt: skip
    runs += [{"run": n, "label": n, "method": "grpo", "role": "compare", "seed": 1} for n in planned_only]
    (folder / "study.json").write_text(
        json.dumps({"study": "made", "description": "made up", "task": "none", "runs": runs})
    )
    for run in made:
        write_run(folder / run.name, run)
    return folder


def write_run(folder: Path, run: Made) -> None:
    """One run of 40 steps, a third of them logged, evaluated at 0, 20 and 40; as Λ(1) rises, Λ(2) and Λ(3) fall."""
    create_or_resume(folder, {"method": run.method, "hyperparameters": run.options, "config": {}}, resume=False)
    rng = np.random.default_rng([run.seed, len(run.label)])
    success = np.asarray(run.success, float)
    success = success if success.ndim == 2 else np.repeat(success[:, None], PROBLEMS, 1)
    with Recorder(folder, k=3, attempt=1) as recorder:
        for step in (0, *STEPS):
            if step in EVALS:
                recorder.put_evals(_evals(step, success[EVALS.index(step)]))
                if run.validation is not None:
                    recorder.put_evals(_evals(step, run.validation[EVALS.index(step)], "validation"))
            if step:
                share = (step - STEPS[0]) / (STEPS[-1] - STEPS[0])
                first = run.lambda_1[0] * (1 - share) + run.lambda_1[1] * share
                _put_step(recorder, step, first, rng)
        recorder.close(run.status)


def _evals(step: int, success: np.ndarray, split: str = "heldout") -> dict[str, list[Any]]:
    ids = [f"problem-{i}" for i in range(len(success))]
    n = len(ids)
    return {
        "step": [step] * n, "split": [split] * n, "source": ["exact"] * n, "prompt_id": ids,
        "success": success.tolist(),
    }  # fmt: skip


def _put_step(recorder: Recorder, step: int, first: float, rng: np.random.Generator) -> None:
    """Four responses of two tokens; the shift is a tenth of the push."""
    shape = (4, 2)
    top = np.broadcast_to(np.array([first, -4.6 - 2 * first, -6.6 - 2 * first]), (*shape, 3)).astype(np.float32)
    batch = TokenBatch(
        step=step,
        response_id=4 * step + np.arange(4),
        verdict=np.array([0, 1, 0, 1], np.int8),
        mask=np.ones(shape, bool),
        token_id=np.zeros(shape, int),
        logprob=top[..., 0],
        rank=np.ones(shape, int),
        entropy=np.full(shape, 0.4, np.float32),
        collision=np.full(shape, 0.6, np.float32),
        collision_logprob=np.full(shape, -0.1, np.float32),
        forking=np.array([[True, False]] * 4),
        top_logprob=top,
        top_id=np.broadcast_to(np.arange(3), (*shape, 3)),
        credit=Credit(rng.normal(size=shape), np.ones(shape), np.zeros(shape)),
    )
    recorder.put(batch)
    push = push_on_ranks(batch, 3)
    assert push is not None
    of_entropy = entropy_push(batch)
    assert of_entropy is not None
    recorder.put_shift(Shift(batch.verdict, batch.mask, batch.forking, 0.1 * push, 0.1 * of_entropy))
    recorder.end_step(step)
