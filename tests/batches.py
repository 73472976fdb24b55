"""Random micro-batches and their statistics worked out the long way, for tests of the store."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from simko.store import TokenBatch
from simko.store.layout.schema import VERDICTS


def random_batch(step: int, rng: np.random.Generator, *, first: int = 0, width: int = 5, k: int = 4) -> TokenBatch:
    """Six responses of ragged lengths, of any verdict; their ids count from 1000·step + first."""
    responses = 6
    shape = (responses, width)
    ranked = np.sort(np.log(rng.dirichlet(np.ones(20), size=shape)), -1)[..., ::-1].astype(np.float32)
    lengths = rng.integers(1, width + 1, responses)
    rank = rng.integers(1, k + 1, shape)
    return TokenBatch(
        step=step,
        response_id=1000 * step + first + np.arange(responses),
        verdict=rng.integers(0, 3, responses).astype(np.int8),
        mask=np.arange(width) < lengths[:, None],
        token_id=rng.integers(0, 20, shape),
        logprob=np.take_along_axis(ranked, rank[..., None] - 1, -1)[..., 0],
        rank=rank,
        entropy=(rng.random(shape) * 3).astype(np.float32),
        collision=rng.random(shape).astype(np.float32),
        forking=rng.random(shape) < 0.4,
        top_logprob=ranked[..., :k],
        top_id=rng.integers(0, 20, (*shape, k)),
    )


def expected_lambda(batches: list[TokenBatch], k: int, verdict: str = "all") -> dict[str, Any]:
    """The row of the view `lambda_k` for one step, by loops over responses and tokens."""
    means, samples, token, forking = [], [], [], []
    for batch in batches:
        for i in range(len(batch.response_id)):
            if verdict not in ("all", VERDICTS[batch.verdict[i]]):
                continue
            kept = [
                t
                for t in range(batch.mask.shape[1])
                if batch.mask[i, t]
                and np.isfinite(
                    [batch.logprob[i, t], batch.entropy[i, t], batch.collision[i, t], *batch.top_logprob[i, t]]
                ).all()
            ]
            if not kept:
                continue
            values = [float(batch.top_logprob[i, t, k - 1]) for t in kept]
            means.append(sum(values) / len(values))
            samples.append(sum(float(batch.logprob[i, t]) for t in kept) / len(kept))
            token += values
            forking += [float(batch.top_logprob[i, t, k - 1]) for t in kept if batch.forking[i, t]]

    def mean(numbers: list[float]) -> float:
        return sum(numbers) / len(numbers) if numbers else math.nan

    return {
        "lambda_k": mean(means),
        "token_mean": mean(token),
        "forking_mean": mean(forking),
        "probability": mean([math.exp(v) for v in token]),
        "forking_probability": mean([math.exp(v) for v in forking]),
        "lambda_sample": mean(samples),
        "n_responses": len(means),
        "n_tokens": len(token),
    }
