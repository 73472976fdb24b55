"""What the paper says of SimKO's own parts, decided from runs that differ in one of them; rules as in `claims.py`.

The runs are found by their hyper-parameters: the recipe is the first SimKO run, and a variant differs from it in one of
them alone. A claim appears where a study has the runs for it.

| claim | rule |
|---|---|
| pass@k grows with alpha | each alpha has a higher pass@k than the next smaller one |
| tau above 0 keeps pass@1 | each tau above 0 has a higher pass@1 than tau 0 |
| a small K suffices | neither pass@1 nor pass@k of the recipe's K is lower than that of any larger K |
| either half alone is worse | the recipe has a higher pass@k than either of its halves alone |

Source of the claims: arXiv 2510.14807, section 5 and Table 4.
"""

from __future__ import annotations

from typing import Any

from ..errors import SimkoError
from ..layout.run import read_run
from .claims import PASS_1_MARGIN, ClaimPart, DecidedClaim, not_lower, part
from .outcomes import Outcomes

METHOD = "simko"
VARIED = ("simko_alpha", "simko_tau", "simko_k", "simko_lambda", "simko_terms", "simko_weighting", "simko_lambda_on",
          "simko_warmup_steps")  # fmt: skip
"""Hyper-parameters in which runs of SimKO are compared."""
LARGEST_K_MARGIN = 0.014
"""Loss of pass@k that is not yet "lower": the spread of pass@256 over all K that the paper reports (Table 4: 79.1 to
80.5 %), within which it says that K matters little."""


def ablation_claims(outcomes: Outcomes) -> list[DecidedClaim]:
    """The claims about SimKO's parts that the study's runs can speak to, numbered after the paper's five."""
    settings = _settings(outcomes)
    if not settings or not outcomes.ks:
        return []
    k = outcomes.ks[-1]
    recipe = next(iter(settings))
    alphas, taus, sizes, terms = (
        _variants(settings, recipe, name) for name in ("simko_alpha", "simko_tau", "simko_k", "simko_terms")
    )
    rising = [
        part(f"{label} has a higher pass@{k} than {smaller}", outcomes.difference(label, smaller, k), 1)
        for smaller, label in zip(_ordered(alphas), _ordered(alphas)[1:], strict=False)
    ]
    everywhere = next((label for label, value in taus.items() if value == 0), None)
    kept = [
        part(f"{label} has a higher pass@1 than {everywhere}", outcomes.difference(label, everywhere, 1), 1)
        for label in _ordered(taus)
        if everywhere is not None and label != everywhere
    ]
    enough = [
        not_lower(outcomes, recipe, label, at, margin)
        for label in _ordered(sizes)
        if sizes[label] > sizes[recipe]
        for at, margin in ((1, PASS_1_MARGIN), (k, LARGEST_K_MARGIN))
    ]
    halves = [
        part(f"{recipe} has a higher pass@{k} than {label}", outcomes.difference(recipe, label, k), 1)
        for label in terms
        if label != recipe
    ]
    claims: list[tuple[int, str, list[ClaimPart]]] = [
        (6, f"pass@{k} grows with alpha", rising),
        (7, "tau above 0 keeps pass@1", kept),
        (8, "A small K suffices", enough),
        (9, "Smoothing right answers or penalising rank 1 alone is worse than both", halves if len(halves) > 1 else []),
    ]
    return [DecidedClaim(number, claim, tuple(parts)) for number, claim, parts in claims if parts]


def _settings(outcomes: Outcomes) -> dict[str, dict[str, Any]]:
    """Label → the hyper-parameters of its runs, in the order planned; runs whose `run.json` cannot be read left out."""
    result = {}
    for label in outcomes.labels:
        run = next(iter(outcomes.of(label).values())).planned
        if run.method != METHOD:
            continue
        try:
            recorded = read_run(outcomes.study.folder / run.run).get("hyperparameters")
        except SimkoError:
            continue
        if isinstance(recorded, dict):
            result[label] = {name: recorded.get(name) for name in VARIED}
    return result


def _variants(settings: dict[str, dict[str, Any]], recipe: str, name: str) -> dict[str, Any]:
    """Label → value of the recipe and of the runs that differ from it in that hyper-parameter alone."""
    own = settings[recipe]
    return {
        label: values[name]
        for label, values in settings.items()
        if _is_known(name, values[name]) and all(values[other] == own[other] for other in VARIED if other != name)
    }


def _is_known(name: str, value: Any) -> bool:
    """Whether a run has recorded a value that can be ordered."""
    if name == "simko_terms":
        return value in ("both", "positive", "negative")
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _ordered(values: dict[str, Any]) -> list[str]:
    """Labels by rising value, one for each value."""
    firsts: dict[Any, str] = {}
    for label, value in values.items():
        firsts.setdefault(value, label)
    return [firsts[value] for value in sorted(firsts)]
