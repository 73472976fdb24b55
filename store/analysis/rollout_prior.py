"""pass@k beyond the size of a group: a distribution of difficulty fitted to rollouts, with its uncertainty.

A problem's probability p of a right response is 0 with weight w₀, else its logit is drawn from one of two normal
distributions. Normal, since the log-probability of a response is a sum over its tokens:

    G = w₀ δ₀ + w₁ logitnormal(μ₁, σ₁) + w₂ logitnormal(μ₂, σ₂),   c | p ~ Binomial(n, p)
    pass@k = ∫ 1 − (1 − p)^k dG

The parameters are not fixed at their best fit, which would hide that rollouts hardly tell p = 0 from a small p. They
are drawn from their posterior, under wide priors; pass@k of these problems, given their c of n, is drawn with them.

Sources: two-groups prior, Efron 2008; hierarchical pass@k, arXiv 2510.05197; the sampler, Goodman & Weare 2010.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .rollout_bounds import Counts

Array = npt.NDArray[np.float64]

_WALKERS = 64
_BURN_IN = 300
_KEPT = 400
_PARAMETERS = 6
_PRIOR_DRAWS = 2048
_WEIGHT_OF_ZERO = (0.2, 3.0)
"""Beta prior of w₀: much of it near 0, since a policy hardly gives a response the probability 0."""
_CENTRE = (0.0, 2.5)
"""Normal prior of μ: p from .01 to .99 within two standard deviations."""
_LOG_SPREAD = (0.4, 0.6)
"""Normal prior of log σ: σ from .45 to 5 within two standard deviations."""
_LOGITS: Array = np.linspace(-18, 18, 145)
_SUCCESS: Array = 1 / (1 + np.exp(-_LOGITS))


def posterior_pass_at_k(counts: Counts, ks: Sequence[int], *, seed: int = 0) -> Array:
    """(D, len(ks)) posterior draws of the mean pass@k over these very problems; no row falls in k.

    Args:
        counts: of the problems.
        ks: responses one may try, from 1, ascending.
        seed: of the draws: the same data give the same ones.

    Raises:
        ValueError: there are no problems.
    """
    if not counts.total:
        raise ValueError("counts: no problems")
    rng = np.random.default_rng(seed)
    likelihood = counts.likelihood(_SUCCESS)
    walkers = _start(counts, likelihood, rng)
    states = _sample(counts, likelihood, walkers, rng)
    unsolved = np.concatenate([_unsolved(counts, likelihood, state, ks, rng) for state in states])
    result: Array = np.maximum.accumulate(1 - unsolved, axis=1)
    return result


def _start(counts: Counts, likelihood: Array, rng: np.random.Generator) -> Array:
    """Walkers from the prior, chosen by a flattened likelihood, so that they start apart but not lost."""
    first = np.column_stack(
        [
            _logit(rng.beta(*_WEIGHT_OF_ZERO, _PRIOR_DRAWS)),
            rng.logistic(size=_PRIOR_DRAWS),
            *(rng.normal(*prior, _PRIOR_DRAWS) for prior in (_CENTRE, _CENTRE, _LOG_SPREAD, _LOG_SPREAD)),
        ]
    )
    first = first[np.argsort(-_log_posterior(counts, likelihood, first), kind="stable")[: 4 * _WALKERS]]
    return np.asarray(first[rng.choice(len(first), _WALKERS, replace=False)], np.float64)


def _sample(counts: Counts, likelihood: Array, walkers: Array, rng: np.random.Generator) -> list[Array]:
    """The stretch move on two halves of the walkers in turn; every tenth state after the burn-in."""
    height = _log_posterior(counts, likelihood, walkers)
    half, states = _WALKERS // 2, []
    for round_ in range(_BURN_IN + _KEPT):
        for side in (0, 1):
            own = np.arange(half) + side * half
            others = rng.integers(0, half, half) + (1 - side) * half
            stretch = (1 + rng.random(half)) ** 2 / 2
            moved = walkers[others] + stretch[:, None] * (walkers[own] - walkers[others])
            new = _log_posterior(counts, likelihood, moved)
            accepted = np.log(rng.random(half)) < (_PARAMETERS - 1) * np.log(stretch) + new - height[own]
            walkers[own[accepted]], height[own[accepted]] = moved[accepted], new[accepted]
        if round_ >= _BURN_IN and round_ % 10 == 0:
            states.append(walkers.copy())
    return states


def _log_posterior(counts: Counts, likelihood: Array, walkers: Array) -> Array:
    """(W,) up to a constant. The columns are logit w₀, logit of w₁/(w₁+w₂), two μ, two log σ."""
    zero, density = _distribution(walkers)
    mixed = density @ likelihood.T + zero[:, None] * (counts.c == 0)
    with np.errstate(divide="ignore"):
        result: Array = np.log(mixed) @ counts.problems
    share = zero.clip(1e-300, 1 - 1e-15)
    result += _WEIGHT_OF_ZERO[0] * np.log(share) + _WEIGHT_OF_ZERO[1] * np.log1p(-share)
    result -= 2 * np.logaddexp(0, walkers[:, 1]) - walkers[:, 1]  # uniform in w₁/(w₁+w₂)
    for columns, (centre, spread) in ((walkers[:, 2:4], _CENTRE), (walkers[:, 4:6], _LOG_SPREAD)):
        result -= (((columns - centre) / spread) ** 2).sum(1) / 2
    return np.where(np.isfinite(result), result, -np.inf)


def _distribution(walkers: Array) -> tuple[Array, Array]:
    """(W,) weight of p = 0, and (W, G) weights of the grid of p above 0; together 1."""
    zero, first = _expit(walkers[:, 0]), _expit(walkers[:, 1])
    centre, spread = walkers[:, 2:4, None], np.exp(walkers[:, 4:6, None].clip(-2.5, 5))  # no spread below the grid's
    shape = np.exp(-(((_LOGITS - centre.clip(-18, 18)) / spread) ** 2) / 2)
    shape /= shape.sum(-1, keepdims=True)
    density = first[:, None] * shape[:, 0] + (1 - first)[:, None] * shape[:, 1]
    return zero, (1 - zero)[:, None] * density


def _unsolved(counts: Counts, likelihood: Array, walkers: Array, ks: Sequence[int], rng: np.random.Generator) -> Array:
    """(W, len(ks)) mean over the problems of the probability that none of k responses is right, given their c of n.

    The mean of many independent problems is nearly normal, so only its mean and variance are needed.
    """
    zero, density = _distribution(walkers)
    given = density[:, None, :] * likelihood  # (W, C, G)
    of_zero = zero[:, None] * (counts.c == 0)
    total = given.sum(-1) + of_zero
    none = np.exp(np.asarray(ks) * np.log1p(-_SUCCESS)[:, None])  # (G, K)
    first, second = (((given @ none**power) + of_zero[..., None]) / total[..., None] for power in (1, 2))
    mean = np.einsum("c,wck->wk", counts.problems, first) / counts.total
    variance = np.einsum("c,wck->wk", counts.problems, (second - first**2).clip(0.0)) / counts.total**2
    result: Array = (mean + np.sqrt(variance) * rng.standard_normal((len(walkers), 1))).clip(0.0, 1.0)
    return result


def _logit(p: Array) -> Array:
    clipped = p.clip(1e-12, 1 - 1e-12)
    return np.asarray(np.log(clipped) - np.log1p(-clipped), np.float64)


def _expit(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x.clip(-700, 700))), np.float64)
