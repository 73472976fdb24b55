"""Rules about numbers: ratios, sampler against trainer, NaN, and answers that could not be judged.

Ratios and the sampler's log-probs stand in token rows alone; they are read on `run_log.TOKEN_STEPS` steps, and the
evidence says which.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .rule import Judgement, Rule, Skip
from .run_log import RunLog, binomial_lower, listed

RATIO = 10.0
"""A token's probability has changed by this factor within one rollout batch: far beyond any clip range."""
RATIO_SHARE = 1e-3
"""Share of such tokens; two finished runs of four steps per batch had 2.4e-5 and 3.7e-5."""
GAP = 0.05
"""Mean |gap| in nats below which sampler and trainer agree: half of what `--sampler_gap` stops a run for."""
TIMES_NOISE = 3.0
"""How many times the trainer's own noise the gap has to be."""
UNJUDGED = 0.05
"""Share of answers without a verdict: one in twenty teaches nothing, and biases pass@k where they are alike."""
TRUNCATED = 0.1
"""Share of answers cut off at the length limit: one in ten is judged by its length."""
FEWEST_TOKENS = 200
"""Tokens a share or a mean is taken over, at least."""

_RATIO = (
    "SELECT step, count(ratio) AS n_tokens, max(ratio) AS largest, min(ratio) AS smallest, "
    "avg((ratio > 10 OR ratio < 0.1)::INTEGER) AS share_outside FROM tokens GROUP BY step ORDER BY step"
)
_MISMATCH = (
    "SELECT step, mean_gap, max_gap, kl_k1, share_outside FROM mismatch WHERE p_from = 0 AND p_to = 1 ORDER BY step"
)
_VERDICTS = (
    "SELECT step, count(*) AS n, avg((verdict = 'unjudged')::INTEGER) AS unjudged, "
    "avg(truncated::INTEGER) AS truncated FROM responses GROUP BY step ORDER BY step"
)
_GAPS = """
SELECT count(*) AS n, avg(abs(gap)) AS gap, avg((abs(gap) > ln(2))::INTEGER) AS outside, avg(gap) AS kl_k1,
       (SELECT nullif(avg(abs(ln(ratio::DOUBLE))), 0) FROM tokens t
        JOIN (SELECT attempt, response_id, step AS first_step FROM responses) USING (attempt, response_id)
        WHERE step IN ({steps}) AND step = first_step AND ratio > 0 AND isfinite(ratio)) AS noise
FROM (SELECT sampler_logprob::DOUBLE - (logprob::DOUBLE - ln(ratio::DOUBLE)) AS gap FROM tokens
      WHERE step IN ({steps}) AND ratio > 0 AND sampler_logprob IS NOT NULL)
WHERE isfinite(gap)
"""


def sampler_mismatch(log: RunLog) -> Judgement:
    """Sampler and trainer disagree by more than rounding."""
    steps = log.token_steps()
    n = log.value(f"SELECT count(sampler_logprob) FROM tokens WHERE step IN ({_list(steps)})")
    if n < FEWEST_TOKENS:
        raise Skip("the sampler's log-probs are not logged" if not n else f"only {n} tokens have them")
    row = log.frame(_GAPS.format(steps=_list(steps))).iloc[0]
    if row.n < FEWEST_TOKENS:
        raise Skip("the ratio of the tokens is not logged, so the old policy is not known")
    noise = None if row.noise is None or row.noise != row.noise else float(row.noise)
    floor = max(GAP, TIMES_NOISE * (noise or 0.0))
    known = "its own noise cannot be told" if noise is None else f"the trainer differs from itself by {noise:.4f}"
    evidence = (
        f"sampler and trainer differ by {row.gap:.4f} nats per token on average, {row.outside:.2%} of the tokens "
        f"by more than a factor of two; {known}; fires above {floor:.3f}",
        _looked(log, steps, int(row.n)),
    )
    figures = {"mean_gap": float(row.gap), "share_outside": float(row.outside), "noise": noise, "floor": floor}
    return Judgement(bool(row.gap > floor), evidence, figures, (steps[0], steps[-1]))


def ratio_explosion(log: RunLog) -> Judgement:
    """Too many tokens have a probability ratio beyond a factor of ten, or one that is not finite."""
    steps = log.token_steps()
    where = f"step IN ({_list(steps)}) AND ratio IS NOT NULL"
    outside = f"(NOT isfinite(ratio) OR ratio > {RATIO} OR ratio < {1 / RATIO})"
    row = log.frame(
        f"SELECT count(*) AS n, count(*) FILTER ({outside}) AS hits, count(*) FILTER (NOT isfinite(ratio)) AS broken, "
        f"max(ratio) FILTER (isfinite(ratio)) AS largest, min(ratio) FILTER (isfinite(ratio)) AS smallest "
        f"FROM tokens WHERE {where}"
    ).iloc[0]
    if row.n < FEWEST_TOKENS:
        raise Skip("no loss was seen, so no ratio is logged" if not row.n else f"only {int(row.n)} tokens have a ratio")
    hits, broken = int(row.hits), int(row.broken)
    fired = broken > 0 or binomial_lower(hits, float(row.n)) > RATIO_SHARE
    examples: tuple[Mapping[str, Any], ...] = ()
    if fired:
        order = (
            "isfinite(ratio), abs(ln(CASE WHEN ratio > 0 AND isfinite(ratio) THEN ratio::DOUBLE ELSE 1e300 END)) DESC"
        )
        columns = "step, response_id, position, token_id, ratio::VARCHAR AS ratio"
        found = log.frame(f"SELECT {columns} FROM tokens WHERE {where} AND {outside} ORDER BY {order} LIMIT 5")
        examples = tuple({str(key): value for key, value in entry.items()} for entry in found.to_dict("records"))
    worst = "" if row.largest != row.largest else f", the largest {row.largest:.3g}, the smallest {row.smallest:.3g}"
    evidence = (
        f"{hits} of {int(row.n)} tokens have a ratio beyond a factor of {RATIO:.0f}, "
        f"{broken} of them not finite{worst}",
        _looked(log, steps, int(row.n)),
    )
    figures = {"share": hits / float(row.n), "hits": hits, "nonfinite": broken, "n_tokens": int(row.n)}
    return Judgement(fired, evidence, figures, (steps[0], steps[-1]), examples)


def nonfinite_tokens(log: RunLog) -> Judgement:
    """Some token has a NaN or infinite statistic."""
    counts = log.steps.n_nonfinite
    hit = counts[counts > 0]
    total = int(counts.sum())
    seen = int(log.steps.n_tokens.sum()) + total
    steps = [int(step) for step in hit.index]
    where = f", first at step {steps[0]}" if steps else ""
    evidence = (f"{total} of {seen} tokens have a NaN or infinite statistic and are left out of every mean{where}",)
    examples = tuple({"step": step, "n_nonfinite": int(counts[step])} for step in steps[:5])
    figures = {"n_nonfinite": total, "steps": len(steps)}
    return Judgement(total > 0, evidence, figures, (int(counts.index[0]), int(counts.index[-1])), examples)


def _share(log: RunLog, condition: str, limit: float, what: str) -> Judgement:
    log.need_responses()
    first, last = log.window
    row = log.frame(
        f"SELECT count({condition}) AS n, count(*) FILTER ({condition}) AS hits FROM responses "
        "WHERE step BETWEEN $first AND $last", first=first, last=last,
    ).iloc[0]  # fmt: skip
    n, hits = int(row.n), int(row.hits)
    if not n:
        raise Skip(f"no response of steps {first} to {last} tells whether it was {what}")
    fired = binomial_lower(hits, n) > limit
    evidence = (f"{hits} of {n} responses in steps {first} to {last} were {what} ({hits / n:.1%})",)
    examples: tuple[Mapping[str, Any], ...] = ()
    if fired:
        found = log.frame(
            f"SELECT prompt_id, count(*) AS n FROM responses WHERE {condition} AND step BETWEEN $first AND $last "
            "GROUP BY prompt_id ORDER BY n DESC, prompt_id LIMIT 5", first=first, last=last,
        )  # fmt: skip
        examples = tuple(
            {"prompt_id": str(p), "responses": int(c)} for p, c in zip(found.prompt_id, found.n, strict=True)
        )
    return Judgement(fired, evidence, {"share": hits / n, "hits": hits, "responses": n}, (first, last), examples)


def unjudged_answers(log: RunLog) -> Judgement:
    """Too many answers could not be judged."""
    return _share(log, "verdict = 'unjudged'", UNJUDGED, "not judged")


def truncated_answers(log: RunLog) -> Judgement:
    """Too many answers were cut off."""
    return _share(log, "truncated", TRUNCATED, "cut off at the length limit")


def _list(steps: list[int]) -> str:
    return ", ".join(map(str, steps))


def _looked(log: RunLog, steps: list[int], tokens: int) -> str:
    of = int(log.steps.complete.sum())
    return f"from {tokens} token rows of {len(steps)} of {of} steps ({listed(steps, 16)})"


RULES = (
    Rule(
        "nonfinite-tokens", "statistics are NaN or infinite", "critical", "roll-ups",
        "The model's logits are broken at these tokens, and the weights may be so soon.",
        "stop and resume from the checkpoint before, with a lower learning rate or in float32 or bfloat16 instead of "
        "float16", "docs/metrics.md#tokens-that-do-not-count",
        "SELECT step, worker, verdict, n_nonfinite FROM rollups WHERE n_nonfinite > 0 ORDER BY step", nonfinite_tokens,
    ),
    Rule(
        "ratio-explosion", "probability ratios explode", "critical", "token rows",
        "The policy has moved so far within one rollout batch that its importance ratios no longer correct for it.",
        "make fewer steps per rollout batch (--num_iterations, --steps_per_generation), or lower the learning rate",
        "PPO, arXiv 1707.06347; docs/metrics.md#push", _RATIO, ratio_explosion,
    ),
    Rule(
        "sampler-mismatch", "sampler and trainer disagree", "critical", "token rows",
        "Tokens are drawn from another distribution than the one that is trained, so every importance ratio is wrong.",
        "compare weights, temperature and filters of the sampler with the trainer's (docs/training.md)",
        "arXiv 2512.23087; docs/metrics.md#sampler-and-trainer", _MISMATCH, sampler_mismatch,
    ),
    Rule(
        "unjudged-answers", "answers cannot be judged", "warning", "responses",
        "The grader could not decide, so these responses have no reward and count in no pass@k.",
        "look at the completions of these problems: a time limit of the grader, or answers in another format",
        "docs/metrics.md#passk", _VERDICTS, unjudged_answers,
    ),
    Rule(
        "truncated-answers", "answers are cut off", "warning", "responses",
        "Responses are judged by their length instead of their answer, and the policy learns to be short.",
        "raise --max_completion_length, or mask such responses (--mask_truncated_completions true)",
        "DAPO, arXiv 2503.14476", _VERDICTS, truncated_answers,
    ),
)  # fmt: skip
"""The rules of this family."""
