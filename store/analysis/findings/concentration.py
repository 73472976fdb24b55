"""Rules about the policy's distribution: where probability goes, over rollout batches.

Thresholds are relative where a figure has a natural end (Λ(1) and entropy end at 0). They were checked on generated
runs and on one finished study of the shipped size, and are provisional otherwise: docs/findings.md.
"""

from __future__ import annotations

from ..trends import Trend
from .rule import Judgement, Rule, Skip
from .run_log import OPEN_ENTROPY, RunLog

SATURATION = 0.2
"""Share of its way to 0 that Λ(1) has gone: a fifth of the log-probability that other candidates had is taken away."""
FALL = 0.2
"""Nats that Λ(2) and Λ(3) have fallen by: these candidates have lost a fifth of their probability (e^-0.2 = 0.82)."""
FLAT = 0.05
"""Share of its start within which an entropy has not moved."""
COLLAPSE = 0.5
"""Share of its entropy that a policy has lost: the finished GRPO run looked at loses 50 %, SimKO beside it 41 %."""
EXPLOSION = 1.5
"""Factor by which entropy has grown: RL sharpens, so a half more is against its direction."""
FORKS_LOST = 0.7
"""Share of its open choices that a policy has lost; of two finished runs SimKO lost 57 %, GRPO 65 %."""
FEWEST_FORKS = 0.01
"""Share of open choices at the start, below which there is little to lose."""
ASYMMETRY = 0.05
"""Nats that Λ(1) of wrong responses has risen by over that of right ones: 5 % of a probability."""

_LAMBDAS = (
    "SELECT step, max(lambda_k) FILTER (k = 1) AS lambda_1, max(lambda_k) FILTER (k = 2) AS lambda_2, "
    "max(lambda_k) FILTER (k = 3) AS lambda_3 FROM lambda_k WHERE verdict = 'all' AND k <= 3 "
    "GROUP BY step ORDER BY step"
)
_ENTROPY = (
    "SELECT step, sum(sum_entropy) / sum(n_tokens) AS entropy FROM rollups WHERE complete GROUP BY step ORDER BY step"
)
_OPEN = (
    f"SELECT step, sum(list_sum(entropy_histogram[{round(OPEN_ENTROPY * 10) + 1}:])) / sum(n_tokens) AS open_share "
    "FROM rollups WHERE complete GROUP BY step ORDER BY step"
)
_GAP = (
    "SELECT step, max(lambda_k) FILTER (k = 1) - max(lambda_k) FILTER (k = 2) AS gap, any_value(entropy) AS entropy "
    "FROM lambda_k JOIN (SELECT step, sum(sum_entropy) / sum(n_tokens) AS entropy FROM rollups GROUP BY step) "
    "USING (step) WHERE verdict = 'all' AND complete GROUP BY step ORDER BY step"
)
_VERDICTS = (
    "SELECT step, max(lambda_k) FILTER (verdict = 'right') AS right_responses, "
    "max(lambda_k) FILTER (verdict = 'wrong') AS wrong_responses FROM lambda_k WHERE k = 1 GROUP BY step ORDER BY step"
)


def _sentence(name: str, trend: Trend, unit: str = " nats") -> str:
    verb = "rose" if trend.change > 0 else "fell"
    p = min(trend.p_rise, trend.p_fall)
    chance = "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
    return (
        f"{name} {verb} from {trend.start:.3f} to {trend.end:.3f}{unit} "
        f"({chance}; {trend.n} batches worth {trend.effective_n:.0f} independent ones)"
    )


def _figures(**trends: Trend) -> dict[str, float]:
    figures: dict[str, float] = {}
    for name, trend in trends.items():
        figures |= {f"{name}_start": trend.start, f"{name}_end": trend.end, f"{name}_slope": trend.slope}
        figures |= {f"{name}_p": min(trend.p_rise, trend.p_fall)}
    return figures


def rank_1_saturation(log: RunLog) -> Judgement:
    """Λ(1) rises to 0 while Λ(2) and Λ(3) fall."""
    log.need_ranks(3)
    first, second, third = (log.trend(f"lambda_{k}", f"Λ({k})") for k in (1, 2, 3))
    fired = first.rises(SATURATION * abs(first.start)) and second.falls(FALL) and third.falls(FALL)
    evidence = tuple(_sentence(f"Λ({k})", t) for k, t in enumerate((first, second, third), start=1))
    return Judgement(fired, evidence, _figures(lambda_1=first, lambda_2=second, lambda_3=third), log.span)


def hidden_concentration(log: RunLog) -> Judgement:
    """Entropy stands still while Λ(1) − Λ(2) widens."""
    log.need_ranks(2)
    entropy = log.trend("entropy", "entropy")
    gap = log.trend_of(log.batches.lambda_1 - log.batches.lambda_2, "Λ(1) - Λ(2)")
    fired = abs(entropy.change) <= FLAT * abs(entropy.start) and gap.rises(FALL)
    evidence = _sentence("Λ(1) - Λ(2)", gap), _sentence("entropy", entropy)
    return Judgement(fired, evidence, _figures(gap=gap, entropy=entropy), log.span)


def entropy_collapse(log: RunLog) -> Judgement:
    """Entropy loses half of itself."""
    entropy = log.trend("entropy", "entropy")
    fired = entropy.falls(COLLAPSE * abs(entropy.start))
    return Judgement(fired, (_sentence("entropy", entropy),), _figures(entropy=entropy), log.span)


def entropy_explosion(log: RunLog) -> Judgement:
    """Entropy grows by half."""
    entropy = log.trend("entropy", "entropy")
    fired = entropy.rises((EXPLOSION - 1) * abs(entropy.start))
    return Judgement(fired, (_sentence("entropy", entropy),), _figures(entropy=entropy), log.span)


def forks_vanishing(log: RunLog) -> Judgement:
    """The share of tokens with an open choice falls."""
    forks = log.trend("open_share", "the entropy histogram")
    if forks.start < FEWEST_FORKS:
        raise Skip(f"only {forks.start:.2%} of its tokens had {OPEN_ENTROPY} nats or more at the start")
    fired = forks.falls(FORKS_LOST * forks.start)
    evidence = (_sentence(f"the share of tokens with {OPEN_ENTROPY} nats or more", forks, ""),)
    return Judgement(fired, evidence, _figures(open_share=forks), log.span)


def wrong_concentrates(log: RunLog) -> Judgement:
    """Λ(1) of wrong responses rises more than that of right ones."""
    wrong = log.trend("wrong_1", "Λ(1) of wrong responses")
    right = log.trend("right_1", "Λ(1) of right responses")
    ahead = log.trend_of(log.batches.wrong_1 - log.batches.right_1, "Λ(1) of right and wrong responses")
    fired = wrong.rises() and ahead.rises(ASYMMETRY)
    evidence = (
        _sentence("Λ(1) of wrong responses", wrong),
        _sentence("Λ(1) of right responses", right),
        _sentence("wrong minus right", ahead),
    )
    return Judgement(fired, evidence, _figures(wrong=wrong, right=right, difference=ahead), log.span)


_LESS_SHARPENING = (
    "use --method simko (or more --simko_alpha), fewer steps on a batch, or a lower learning rate, and compare pass@K"
)
RULES = (
    Rule(
        "rank-1-saturation", "probability piles onto the first candidate", "warning", "roll-ups",
        "The policy becomes sure of one candidate and forgets the second and third, from which pass@K lives.",
        _LESS_SHARPENING, "SimKO, arXiv 2510.14807; docs/metrics.md#λk-where-the-probability-goes", _LAMBDAS,
        rank_1_saturation,
    ),
    Rule(
        "hidden-concentration", "entropy stands still while the first candidate runs away", "warning", "roll-ups",
        "The tail keeps the entropy up, so a curve of entropy does not show that the second candidate is lost.",
        "watch Λ(1) and Λ(2) instead of entropy, and smooth over the top candidates (--method simko) instead of an "
        "entropy bonus", "SimKO, arXiv 2510.14807; docs/metrics.md#entropy", _GAP, hidden_concentration,
    ),
    Rule(
        "entropy-collapse", "entropy collapses", "warning", "roll-ups",
        "The policy has lost half of its entropy or more, so its rollouts become alike and have less to teach.",
        "raise the upper clip (--method dapo), add an entropy bonus, or use --method simko", "arXiv 2505.22617",
        _ENTROPY, entropy_collapse,
    ),
    Rule(
        "entropy-explosion", "entropy explodes", "warning", "roll-ups",
        "The policy becomes random: too much is pushed away from wrong responses, or an entropy bonus takes over.",
        "lower the learning rate or the entropy bonus, and look at responses of the last steps",
        "docs/findings.md#the-rules",
        _ENTROPY, entropy_explosion,
    ),
    Rule(
        "forks-vanishing", "open choices vanish", "warning", "roll-ups",
        "There are few tokens left at which more than one continuation is likely, so responses explore little; the "
        "quantile rule for forking tokens cannot show it, because it fixes their share.",
        "train on forking tokens alone (--method forking_tokens), or smooth there with --method simko",
        "arXiv 2506.01939",
        _OPEN, forks_vanishing,
    ),
    Rule(
        "wrong-concentrates", "wrong responses grow surer faster than right ones", "warning", "roll-ups",
        "The policy becomes sure where it is wrong, which more sampling does not repair.",
        "give wrong responses more weight (--method simko pushes their first candidate down hardest)",
        "arXiv 2506.01347; docs/metrics.md#λk-where-the-probability-goes", _VERDICTS, wrong_concentrates,
    ),
)  # fmt: skip
"""The rules of this family."""
