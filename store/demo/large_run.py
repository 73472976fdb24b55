"""A run of any size written without a model: tens of millions of tokens with statistics that belong together.

    simko demo --tokens 50M
    python -c "from pathlib import Path; from simko.store.demo.large_run import write_large_run as w; \
    w(Path('runs'), name='large', tokens=1_000_000)"

The policy is a table of next-token distributions over a vocabulary of 50 000, each with 64 candidates: most are nearly
certain, one in five forks. Which one stands at a position is fixed by prompt and position. Steps sharpen all of them
(much under `grpo`, less under `simko`); tokens are drawn from them, so that ranks, log-probabilities, entropies and
Λ(k) are those of one policy that concentrates. Verdicts are drawn from each prompt's probability of success, which
rises with the sharpening where the likely answer is right and falls where only an unlikely one is, so pass@1 rises and
pass@256 falls. The rows go through the same recorder as a training run's. The same arguments give the same figures.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ..errors import RunUnwritable
from ..layout.meaning import meaning_of
from ..layout.run import create_or_resume, write_vocabulary
from ..layout.schema import VERDICTS
from ..writing.batch import Credit, TokenBatch
from ..writing.recorder import Recorder

Array = npt.NDArray[Any]

VOCABULARY = 50_000
CANDIDATES = 64
GROUP = 8
_CONTEXTS = 4096
_FORKING_SHARE = 0.2
_PROBLEMS = 500
_LENGTH = 512
_SHARPENING = {"grpo": 1.0}
_OTHER_SHARPENING = 0.4
_ROWS_A_BATCH = 65_536


class _LargePolicy:
    """`_CONTEXTS` sets of `CANDIDATES` logits, likeliest first, each with its token ids."""

    def __init__(self, rng: np.random.Generator) -> None:
        forks = rng.random(_CONTEXTS) < _FORKING_SHARE
        rank = np.arange(CANDIDATES)
        fall = np.where(forks[:, None], 0.55 * np.sqrt(rank) + 0.02 * rank, 3.5 * np.sqrt(rank) + 0.05 * rank)
        noise = rng.normal(0, 0.4, (_CONTEXTS, CANDIDATES))
        logits = -np.sort(fall + noise, axis=1)
        self.logits = (logits - logits[:, :1]).astype(np.float32)
        self.ids = rng.integers(0, VOCABULARY, (_CONTEXTS, CANDIDATES)).astype(np.int32)

    def draw(self, contexts: Array, sharpness: float, rng: np.random.Generator) -> dict[str, Array]:
        """A token drawn at each of N contexts: index (N,) among the candidates, log-probabilities and moments.

        No two tokens have the same distribution: each is sharpened a little more or less than the step says.
        """
        sharpened = (sharpness * rng.lognormal(0, 0.1, len(contexts))).astype(np.float32)
        logp = self.logits[contexts] * sharpened[:, None]
        p = np.exp(logp)
        total = p.sum(1, keepdims=True)
        p /= total
        logp -= np.log(total)
        drawn = (p.cumsum(1) < rng.random((len(contexts), 1), np.float32)).sum(1).clip(0, CANDIDATES - 1)
        return {
            "index": drawn,
            "logp": logp,
            "entropy": -np.einsum("nv,nv->n", p, logp),
            "collision": np.einsum("nv,nv->n", p, p),
            "collision_logprob": np.einsum("nv,nv,nv->n", p, p, logp),
        }


def large_run_steps(
    folder: Path,
    *,
    name: str,
    tokens: int,
    steps: int = 200,
    method: str = "simko",
    k: int = 5,
    seed: int = 0,
    text: bool = True,
    **recorder: Any,
) -> Iterator[int]:
    """Write the run `folder/name`, yielding the token rows handed to the recorder so far after every step.

    Args:
        folder: where runs are.
        name: the run's name.
        tokens: token rows in all, reached to within a response a step.
        steps: optimizer steps they are spread over.
        method: `grpo` concentrates fastest.
        k: ranked candidates logged, at most `CANDIDATES`.
        seed: of policy, problems and draws.
        text: whether responses carry their completion.
        recorder: options of `Recorder`.

    Raises:
        RunExists: there is a run of that name.
        RunUnwritable: the folder cannot be written.
    """
    run_dir = Path(folder) / name
    info = _info(name, method, k, seed)
    create_or_resume(run_dir, info, resume=False)
    texts = vocabulary()
    write_vocabulary(run_dir, texts)
    rng = np.random.default_rng(seed)
    policy, solvable = _LargePolicy(rng), rng.random(_PROBLEMS) < 0.7
    difficulty = rng.normal(0, 1.2, _PROBLEMS)
    words = pa.array(texts) if text else None
    done = responses = 0
    with Recorder(run_dir, k=k, attempt=1, meaning=meaning_of(info), **recorder) as writer:
        writer.put_evals(_evals(_success(solvable, difficulty, 0.0), 0))
        for step in range(1, steps + 1):
            progress = _SHARPENING.get(method, _OTHER_SHARPENING) * (step - 1) / steps
            success = _success(solvable, difficulty, progress)
            share = tokens * step // steps - done
            while share > 0:
                batch, columns = _rollouts(
                    policy, 1.0 + progress, success, rng, step, min(share, _ROWS_A_BATCH), responses, k, words
                )
                writer.put_responses(columns)
                writer.put(batch)
                written = int(batch.mask.sum())
                done, share, responses = done + written, share - written, responses + len(batch.mask)
            writer.end_step(step)
            if step % max(1, steps // 10) == 0:
                writer.put_evals(_evals(success, step))
            yield done
    if writer.error is not None:  # in training it only warns
        raise RunUnwritable(
            f"{run_dir} is not whole ({writer.error}); make room, remove that folder and call this again"
        ) from writer.error


def write_large_run(folder: Path, *, name: str, tokens: int, **options: Any) -> Path:
    """Write a whole run and return its folder; options as in `large_run_steps`."""
    for _ in large_run_steps(folder, name=name, tokens=tokens, **options):
        pass
    return Path(folder) / name


def vocabulary() -> list[str]:
    """The text of every token id: made-up words, each with the space before it."""
    onsets, vowels, ends = "bdfgklmnprst", "aeiou", ["", "n", "r", "s", "l", "m", "t"]
    syllables = [onset + vowel + end for onset in onsets for vowel in vowels for end in ends]
    return [f" {syllables[i % len(syllables)]}{syllables[i // len(syllables)]}" for i in range(VOCABULARY)]


def _success(solvable: Array, difficulty: Array, progress: float) -> Array:
    """(problems,) probability that one response is right."""
    likely = 1 / (1 + np.exp(difficulty - 3 * progress))
    unlikely = 0.05 * np.exp(-6 * progress) / (1 + np.exp(difficulty))
    return np.where(solvable, likely, unlikely)


def _evals(success: Array, step: int) -> dict[str, list[Any]]:
    return {
        "step": [step] * _PROBLEMS,
        "split": ["heldout"] * _PROBLEMS,
        "source": ["exact"] * _PROBLEMS,
        "prompt_id": [f"problem-{i}" for i in range(_PROBLEMS)],
        "success": success.tolist(),
    }


def _rollouts(
    policy: _LargePolicy,
    sharpness: float,
    success: Array,
    rng: np.random.Generator,
    step: int,
    rows: int,
    first_response: int,
    k: int,
    words: pa.Array | None,
) -> tuple[TokenBatch, dict[str, Any]]:
    """About `rows` tokens (to within a response) of groups of responses, and their columns of `responses`."""
    lengths = np.clip(rng.normal(0.6 * _LENGTH, 0.15 * _LENGTH, rows // 100 + 1).astype(int), 100, _LENGTH)
    n = int(np.searchsorted(lengths.cumsum(), rows)) + 1
    lengths = lengths[:n]
    lengths[-1] = max(1, rows - int(lengths[:-1].sum()))
    problems = rng.integers(0, _PROBLEMS, n // GROUP + 1).repeat(GROUP)[:n]
    positions = np.arange(int(lengths.max()))
    mask = positions < lengths[:, None]
    contexts = ((problems[:, None] * 7919 + positions * 104_729) % _CONTEXTS)[mask]
    drawn = policy.draw(contexts, sharpness, rng)
    index, every = drawn["index"], np.arange(len(contexts))
    token_id = policy.ids[contexts, index]

    def spread_out(values: Array) -> Array:
        result = np.zeros(mask.shape + values.shape[1:], values.dtype)
        result[mask] = values
        return result

    entropy = spread_out(drawn["entropy"])
    quantile = np.array([np.quantile(row[:length], 0.8) for row, length in zip(entropy, lengths, strict=True)])
    right = rng.random(n) < success[problems]
    reward = right.astype(np.float64)
    groups = np.arange(n) // GROUP
    size = np.bincount(groups)
    mean = (np.bincount(groups, reward) / size)[groups]
    deviation = np.sqrt(np.bincount(groups, (reward - mean) ** 2) / size)[groups]
    advantage = (reward - mean) / (deviation + 1e-4)
    one = np.ones(mask.shape, np.float32)
    ids = first_response + np.arange(n)
    batch = TokenBatch(
        step=step,
        response_id=ids,
        verdict=np.where(right, VERDICTS.index("right"), VERDICTS.index("wrong")).astype(np.int8),
        mask=mask,
        token_id=spread_out(token_id),
        logprob=spread_out(drawn["logp"][every, index]),
        rank=spread_out(index + 1),
        entropy=entropy,
        collision=spread_out(drawn["collision"]),
        collision_logprob=spread_out(drawn["collision_logprob"]),
        forking=entropy > quantile[:, None],
        top_logprob=spread_out(drawn["logp"][:, :k]),
        top_id=spread_out(policy.ids[contexts, :k]),
        credit=Credit(weight=one * advantage[:, None].astype(np.float32), ratio=one, smoothing=0 * one),
    )
    return batch, {
        "generation": [step - 1] * n,
        "step": [step] * n,
        "response_id": ids,
        "prompt_id": [f"problem-{i}" for i in problems],
        "group_id": first_response // GROUP + groups,
        "reward": reward,
        "verdict": np.where(right, "right", "wrong").tolist(),
        "advantage": advantage,
        "n_tokens": lengths,
        "truncated": lengths == _LENGTH,
        "prompt": [f"Problem {i} of the demonstration." for i in problems],
        "completion": [None] * n if words is None else _joined(words, token_id, lengths),
    }


def _joined(words: pa.Array, token_id: Array, lengths: Array) -> pa.Array:
    """The text of each response."""
    offsets = np.concatenate([[0], lengths.cumsum()]).astype(np.int32)
    return pc.binary_join(pa.ListArray.from_arrays(offsets, words.take(pa.array(token_id))), "")


def _info(name: str, method: str, k: int, seed: int) -> dict[str, Any]:
    return {
        "run": name,
        "method": method,
        "hyperparameters": {"seed": seed},
        "model": "demonstration, 50 000 tokens",
        "tokenizer": "demonstration",
        "task": "demonstration",
        "dataset": "demonstration",
        "probe": {
            "k": k,
            "temperature": 1.0,
            "logprobs": "processed",
            "entropy": "exact",
            "forking": "entropy above the 0.8 quantile of its response",
            "tie_rule": "lowest token id first",
        },
        "versions": {},
        "config": {},
    }
