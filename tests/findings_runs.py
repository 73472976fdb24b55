"""Runs written by the store alone in which one thing goes wrong, or nothing does: for tests of the rules."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from simko.store import Recorder, TokenBatch
from simko.store.layout.meaning import meaning_of
from simko.store.layout.run import create_or_resume
from simko.store.layout.schema import VERDICTS
from simko.store.writing.batch import Credit, verdict_codes

GROUPS, GROUP, TOKENS = 3, 4, 10
RESPONSES = GROUPS * GROUP
PROBLEMS = 30


Line = Callable[[float], float]


def level(start: float, end: float | None = None) -> Line:
    """A straight line over the run, from share 0 to share 1."""
    return lambda share: start + share * ((start if end is None else end) - start)


_TOP, _ENTROPY, _OPEN, _WRONG = (level(-0.30), level(-3.0), level(-4.0)), level(0.5), level(0.3), level(0.0)


@dataclass
class Course:
    """How a run goes, by the share of its steps that is done. As it stands, nothing is wrong."""

    steps: int = 40
    first_step: int = 1
    top: tuple[Line, ...] = _TOP
    entropy: Line = _ENTROPY
    open_share: Line = _OPEN  # of the tokens, whose entropy lies one nat higher
    wrong: Line = _WRONG  # Λ(1) of wrong responses over that of right ones
    right: Callable[[int, int, float], int] = lambda problem, visit, share: 1 + (problem + visit) % 3
    unjudged: float = 0.0
    truncated: float = 0.0
    ratio: float = 1.0
    gap: float | None = 0.01
    nonfinite: Collection[int] = ()
    absent: Collection[int] = ()
    success: dict[int, Any] = field(
        default_factory=lambda: {0: np.linspace(0.1, 0.9, 40), 40: np.linspace(0.2, 0.9, 40)}
    )
    weight_on_mastered: bool = False
    responses: bool = True
    status: str = "finished"
    attempt: int = 1
    temperature: float = 1.0
    world_size: int = 1
    k: int = 3


def write(folder: Path, course: Course, *, resume: bool = False, change: bool = False) -> Path:
    """Write the run and return its folder."""
    info = {"method": "grpo", "probe": {"k": course.k, "temperature": course.temperature}}
    create_or_resume(folder, info, resume=resume)
    rng = np.random.default_rng([course.attempt, course.steps])
    about = {"attempt": course.attempt, "start_step": course.first_step - 1, "meaning": meaning_of(info)}
    recorder = Recorder(folder, k=course.k, world_size=course.world_size, **about)
    for step in range(course.first_step, course.steps + 1):
        if step in course.absent:
            continue
        _put_step(recorder, course, step, (step - 1) / max(1, course.steps - 1), rng)
    for step, success in course.success.items():
        n = len(success)
        recorder.put_evals({
            "step": [step] * n, "split": ["heldout"] * n, "source": ["exact"] * n,
            "prompt_id": [f"held-out-{i}" for i in range(n)], "success": list(map(float, success)),
        })  # fmt: skip
    recorder.close(course.status)
    return folder


def _put_step(recorder: Recorder, course: Course, step: int, share: float, rng: np.random.Generator) -> None:
    problems = [(step * GROUPS + g) % PROBLEMS for g in range(GROUPS)]
    visit = step * GROUPS // PROBLEMS
    verdicts, advantages = [], []
    for problem in problems:
        right = course.right(problem, visit, share)
        group = ["right"] * right + ["wrong"] * (GROUP - right)
        verdicts += ["unjudged" if rng.random() < course.unjudged else verdict for verdict in group]
        advantages += [float((verdict == "right") - right / GROUP) for verdict in group]
        if course.weight_on_mastered and right == GROUP:
            advantages[-GROUP:] = [1.0] * GROUP
    ids = step * RESPONSES + np.arange(RESPONSES)
    if course.responses:
        recorder.put_responses({
            "generation": [step - 1] * RESPONSES, "step": [step] * RESPONSES, "response_id": ids.tolist(),
            "prompt_id": [f"problem-{p}" for p in np.repeat(problems, GROUP)],
            "group_id": np.repeat(step * GROUPS + np.arange(GROUPS), GROUP).tolist(),
            "reward": [None if v == "unjudged" else float(v == "right") for v in verdicts], "verdict": verdicts,
            "advantage": advantages, "n_tokens": [TOKENS] * RESPONSES,
            "truncated": (rng.random(RESPONSES) < course.truncated).tolist(),
            "prompt": ["?"] * RESPONSES, "completion": ["!"] * RESPONSES,
        })  # fmt: skip
    shape = (RESPONSES, TOKENS)
    codes = verdict_codes(verdicts)
    noise = rng.normal(0, 0.01, (*shape, course.k))
    top = np.array([line(share) for line in course.top[: course.k]]) + noise
    top[..., 0] += course.wrong(share) * (codes == VERDICTS.index("wrong"))[:, None]
    open_choice = rng.random(shape) < course.open_share(share)
    entropy = course.entropy(share) + rng.normal(0, 0.01, shape)
    entropy = np.where(open_choice, entropy + 1.0, entropy)
    if step in course.nonfinite:
        entropy[0, 0] = np.nan
    one = np.ones(shape, np.float32)
    logprob = top[..., 0].astype(np.float32)
    recorder.put(
        TokenBatch(
            step=step, response_id=ids.astype(np.int64), verdict=codes, mask=one.astype(bool),
            token_id=np.zeros(shape, int), logprob=logprob, rank=one.astype(int), entropy=entropy.astype(np.float32),
            collision=0.6 * one, forking=open_choice, top_logprob=top.astype(np.float32),
            top_id=np.broadcast_to(np.arange(course.k), (*shape, course.k)),
            credit=Credit(one * np.array(advantages, np.float32)[:, None], course.ratio * one, 0 * one),
            sampler_logprob=None if course.gap is None
            else (logprob - np.log(course.ratio) + rng.choice([-1, 1], shape) * course.gap).astype(np.float32),
        )
    )  # fmt: skip
    recorder.end_step(step)
