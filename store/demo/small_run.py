"""A small run written without a model, for dashboards, queries and tests.

    python -c "from pathlib import Path; from simko.store.demo.small_run import write_demonstration_run as w; \
    [w(Path('runs'), name=m, method=m) for m in ('grpo', 'simko')]"

The policy is a table: per prompt and position one categorical distribution over a vocabulary of numbers and
operators, sharpened step by step (much under `grpo`, less under `simko`). Responses are drawn from it and judged by
arithmetic, and its pass@k is exact by enumeration, so every figure is that of a real, if small, policy. The same
arguments give the same figures.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import RunUnwritable
from ..layout.meaning import meaning_of
from ..layout.run import create_or_resume, next_attempt, write_vocabulary
from ..layout.schema import Verdict
from ..writing.batch import Credit, Shift, TokenBatch, verdict_codes
from ..writing.push import entropy_push, push_on_ranks
from ..writing.recorder import Recorder
from ..writing.row_sampling import LoggedRows

Array = npt.NDArray[Any]

OPERATORS = ("+", "-", "*")
NUMBERS = tuple(range(1, 14))
VOCABULARY = ("<end>", *OPERATORS, *(str(number) for number in NUMBERS))
LENGTH = 6  # number operator number operator number <end>
_FIRST_NUMBER = 1 + len(OPERATORS)
_SHARPENING = {"grpo": 2.6}
_OTHER_SHARPENING = 0.9
_GROUP = 8
_PROBLEMS = 48


class _MadeUp:
    """Distributions of shape (problems, LENGTH, V) for `_PROBLEMS` Countdown problems.

    The likeliest expression is right for most problems; for the rest only an unlikely one is, which sharpening loses.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        v = len(VOCABULARY)
        self.numbers = np.array([rng.choice(NUMBERS, 3, replace=False) for _ in range(_PROBLEMS)])
        self.logits = rng.normal(-4.0, 0.5, (_PROBLEMS, LENGTH, v))
        self.targets: list[int] = []
        self.right: list[Array] = []
        for problem, numbers in enumerate(self.numbers):
            self.logits[problem, 0:5:2, numbers + _FIRST_NUMBER - 1] = rng.normal(1.0, 0.8, (3, 3))
            self.logits[problem, 1:5:2, 1:_FIRST_NUMBER] = rng.normal(1.0, 0.8, (2, len(OPERATORS)))
            self.logits[problem, range(0, 5, 2), numbers + _FIRST_NUMBER - 1] += 1.4
            self.logits[problem, 5, 0] = 3.0
            expressions = np.array(
                [
                    [a, p, b, q, c, 0]
                    for a, b, c in itertools.permutations(numbers + _FIRST_NUMBER - 1)
                    for p, q in itertools.product(range(1, _FIRST_NUMBER), repeat=2)
                ]
            )
            values = np.array([eval_expression(row) for row in expressions])
            likely = np.argsort(-self.logits[problem, np.arange(LENGTH), expressions].sum(1), kind="stable")
            place = 0 if rng.random() < 0.55 else int(rng.integers(4, 25))
            self.targets.append(int(values[likely[place]]))
            self.right.append(expressions[values == self.targets[-1]])

    def logprobs(self, sharpness: float) -> Array:
        """(problems, LENGTH, V) log-probabilities in nats."""
        scaled = self.logits * sharpness
        scaled = scaled - scaled.max(-1, keepdims=True)
        normalised: Array = scaled - np.log(np.exp(scaled).sum(-1, keepdims=True))
        return normalised

    def success(self, sharpness: float) -> list[float]:
        """Exact probability, per problem, that one response is right."""
        logp = self.logprobs(sharpness)
        return [float(np.exp(logp[i, np.arange(LENGTH), rows].sum(1)).sum()) for i, rows in enumerate(self.right)]


def eval_expression(token_ids: Array) -> int:
    """Value of number, operator, number, operator, number; `*` binds tighter."""
    a, p, b, q, c = (int(i) for i in token_ids[:5])
    x, y, z = (i - _FIRST_NUMBER + 1 for i in (a, b, c))
    first, second = VOCABULARY[p], VOCABULARY[q]

    def apply(left: int, operator: str, right: int) -> int:
        return {"+": left + right, "-": left - right, "*": left * right}[operator]

    if second == "*" and first != "*":
        return apply(x, first, y * z)
    return apply(apply(x, first, y), second, z)


def demonstration_steps(
    folder: Path,
    *,
    name: str,
    method: str = "simko",
    steps: int = 40,
    responses: int = 32,
    k: int = 5,
    seed: int = 0,
    resume: bool = False,
    start_step: int = 0,
    evaluate_every: int | None = None,
    **recorder: Any,
) -> Iterator[int]:
    """Write the run `folder/name`, yielding each step's number once it was handed to the recorder.

    Args:
        folder: where runs are.
        name: the run's name.
        method: `grpo` concentrates fastest.
        steps: last step.
        responses: responses per step, a multiple of 8 (a group's size).
        k: ranked candidates logged, at most `len(VOCABULARY)`.
        seed: of the problems, the policy and the draws.
        resume: continue a run that is there as a new attempt, from `start_step`.
        start_step: steps done before.
        evaluate_every: steps between exact evaluations (default: ten of them).
        recorder: options of `Recorder`.
    """
    run_dir = Path(folder) / name
    info = _info(name, method, k, recorder.get("rows") or LoggedRows())
    create_or_resume(run_dir, info, resume=resume)
    write_vocabulary(run_dir, list(VOCABULARY))
    policy = _MadeUp(np.random.default_rng(seed))
    every = evaluate_every or max(1, steps // 10)

    def sharpness(step: int) -> float:
        return 0.8 + _SHARPENING.get(method, _OTHER_SHARPENING) * step / max(steps, 1)

    attempt = next_attempt(run_dir)
    about = {"k": k, "attempt": attempt, "start_step": start_step, "meaning": meaning_of(info)}
    with Recorder(run_dir, **{**about, **recorder}) as writer:
        if start_step == 0:
            writer.put_evals(_evals(policy, 0, sharpness(0)))
        for step in range(start_step + 1, steps + 1):
            rng = np.random.default_rng([seed, step, attempt])
            _put_step(writer, policy, step, sharpness(step - 1), responses, k, rng)
            if step % every == 0 or step == steps:
                writer.put_evals(_evals(policy, step, sharpness(step)))
            yield step
    if writer.error is not None:  # in training it only warns
        raise RunUnwritable(
            f"{run_dir} is not whole ({writer.error}); make room, remove that folder and call this again"
        ) from writer.error


def write_demonstration_run(folder: Path, *, name: str, **options: Any) -> Path:
    """Write a whole demonstration run and return its folder; options as in `demonstration_steps`."""
    for _ in demonstration_steps(folder, name=name, **options):
        pass
    return Path(folder) / name


def _info(name: str, method: str, k: int, rows: LoggedRows) -> dict[str, Any]:
    return {
        "run": name,
        "method": method,
        "hyperparameters": {"learning_rate": 1e-3},
        "model": "demonstration",
        "tokenizer": "demonstration",
        "task": "countdown",
        "dataset": "demonstration",
        "probe": {
            "k": k,
            "temperature": 1.0,
            "logprobs": "processed",
            "entropy": "exact",
            "forking": "entropy above the 0.8 quantile of its response",
            "tie_rule": "lowest token id first",
            "rows": rows.describe(),
        },
        "versions": {},
        "config": {},
    }


def _evals(policy: _MadeUp, step: int, sharpness: float) -> dict[str, list[Any]]:
    return {
        "step": [step] * _PROBLEMS,
        "split": ["heldout"] * _PROBLEMS,
        "source": ["exact"] * _PROBLEMS,
        "prompt_id": [f"problem-{i}" for i in range(_PROBLEMS)],
        "success": policy.success(sharpness),
    }


def _credit(mask: Array, advantages: Array) -> Credit:
    """Of a loss on policy without clipping: the weight of a token is its response's advantage."""
    one = np.ones(mask.shape, np.float32)
    return Credit(weight=one * advantages[:, None].astype(np.float32), ratio=one, smoothing=0 * one)


def _half_precision(logp: Array, sampled: Array) -> Array:
    """(n, LENGTH) log-probabilities of the sampled tokens as reported by a sampler with logits in bfloat16."""
    logits = LoggedRows(precision="bfloat16").stored(logp.astype(np.float32)).astype(np.float64)
    normaliser = np.log(np.exp(logits).sum(-1))
    reported: Array = np.take_along_axis(logits, sampled[..., None], -1)[..., 0] - normaliser
    return reported.astype(np.float32)


def _put_step(
    writer: Recorder,
    policy: _MadeUp,
    step: int,
    sharpness: float,
    responses: int,
    k: int,
    rng: np.random.Generator,
) -> None:
    groups = max(1, responses // _GROUP)
    problems = np.repeat(rng.choice(_PROBLEMS, groups, replace=False), _GROUP)
    n = len(problems)
    logp = policy.logprobs(sharpness)[problems]
    p = np.exp(logp)
    sampled = (p.cumsum(-1) < rng.random((n, LENGTH, 1))).sum(-1).clip(0, len(VOCABULARY) - 1)
    ended = np.cumsum(sampled == 0, axis=1)
    mask = (ended - (sampled == 0)) == 0
    order = np.argsort(-logp, axis=-1, kind="stable")[..., :k]
    logprob = np.take_along_axis(logp, sampled[..., None], -1)
    entropy = -(p * logp).sum(-1)
    quantile = np.array([np.quantile(row[kept], 0.8) for row, kept in zip(entropy, mask, strict=True)])
    texts = [" ".join(VOCABULARY[i] for i in row[kept] if i) for row, kept in zip(sampled, mask, strict=True)]
    verdicts: list[Verdict] = [
        "unjudged" if rng.random() < 0.02 else "right" if (policy.right[i] == row).all(1).any() else "wrong"
        for i, row in zip(problems, sampled, strict=True)
    ]
    rewards = [None if v == "unjudged" else float(v == "right") for v in verdicts]
    scores = np.array([r or 0.0 for r in rewards]).reshape(groups, -1)
    advantages = (scores - scores.mean(1, keepdims=True)) / (scores.std(1, keepdims=True) + 1e-4)
    ids = (step - 1) * n + np.arange(n)
    writer.put_responses(
        {
            "generation": [step - 1] * n,
            "step": [step] * n,
            "response_id": ids.tolist(),
            "prompt_id": [f"problem-{i}" for i in problems],
            "group_id": ((step - 1) * groups + np.arange(n) // _GROUP).tolist(),
            "reward": rewards,
            "verdict": verdicts,
            "advantage": advantages.ravel().tolist(),
            "n_tokens": mask.sum(1).tolist(),
            "truncated": (~(sampled == 0).any(1)).tolist(),
            "prompt": [f"Make {policy.targets[i]} from {', '.join(map(str, policy.numbers[i]))}." for i in problems],
            "completion": texts,
        }
    )
    batch = TokenBatch(
        step=step,
        response_id=ids.astype(np.int64),
        verdict=verdict_codes(verdicts),
        mask=mask,
        token_id=sampled,
        logprob=logprob[..., 0].astype(np.float32),
        rank=1 + (logp > logprob).sum(-1),
        entropy=entropy.astype(np.float32),
        collision=(p**2).sum(-1).astype(np.float32),
        collision_logprob=(p**2 * logp).sum(-1).astype(np.float32),
        forking=entropy > quantile[:, None],
        top_logprob=np.take_along_axis(logp, order, -1).astype(np.float32),
        top_id=order.astype(np.int32),
        credit=_credit(mask, advantages.ravel()),
        sampler_logprob=_half_precision(logp, sampled),
    )
    writer.put(batch)
    push = push_on_ranks(batch, k)
    if step % 2 == 0 and push is not None:  # scored again: a small step along the push, and what the other tokens did
        shift = 0.05 * push + rng.normal(0, 0.02, push.shape)
        of_entropy = entropy_push(batch)
        if of_entropy is not None:  # noise of its own, so that the rest of the run stays what it was
            of_entropy = 0.05 * of_entropy + np.random.default_rng(step).normal(0, 0.02, mask.shape)
        writer.put_shift(Shift(batch.verdict, mask, entropy > quantile[:, None], shift, of_entropy))
    writer.end_step(step)
