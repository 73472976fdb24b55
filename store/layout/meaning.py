"""What the figures of an attempt mean, stated by the first line of its manifest, and where that changes within a run.

    {"probe": {"k", "temperature", "logprobs", "entropy", "forking", "tie_rule", "rows": {"every", "responses", …}},
     "smoothing": {"k", "weighting"},
     "sampler": {"engine", "logprobs", "temperature", "top_p", "top_k", "min_p", "repetition_penalty"}}

Curves of attempts that mean different things jump where one ends and the next begins, without the policy having
changed: so a run is not continued with another meaning unless that was asked for, and then readers show the break.
Attempts from before it was stated mean what `run.json` says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_STATED = {
    "probe": {
        "k": "K",
        "temperature": "temperature",
        "logprobs": "log-probs",
        "entropy": "entropy",
        "forking": "forking rule",
        "tie_rule": "rule for ties",
    },
    "rows": {
        "every": "steps per logged step",
        "responses": "share of responses with token rows",
        "precision": "precision of token rows",
        "seed": "seed of the responses with token rows",
    },
    "smoothing": {"k": "smoothed candidates", "weighting": "smoothing weights"},
    "sampler": {
        "engine": "sampler",
        "logprobs": "sampler's log-probs",
        "temperature": "sampler's temperature",
        "top_p": "sampler's top_p",
        "top_k": "sampler's top_k",
        "min_p": "sampler's min_p",
        "repetition_penalty": "sampler's repetition penalty",
    },
}


def meaning_of(info: Mapping[str, Any]) -> dict[str, Any]:
    """The part of the entries of `run.json`, or of a manifest's first line, that says what the figures mean."""
    return {name: dict(_entries(info, name)) for name in ("probe", "smoothing", "sampler") if _entries(info, name)}


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What differs between two meanings, as `temperature 1.0 → 0.5`; what only one of them states does not."""
    result = []
    for section, names in _STATED.items():
        old, new = (_section(meaning, section) for meaning in (before, after))
        result += [
            f"{words} {old[name]} → {new[name]}"
            for name, words in names.items()
            if name in old and name in new and old[name] != new[name]
        ]
    return result


def _section(meaning: Mapping[str, Any], section: str) -> Mapping[str, Any]:
    return _entries(_entries(meaning, "probe"), "rows") if section == "rows" else _entries(meaning, section)


def _entries(info: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The entries under a name; none where it was edited into something else."""
    value = info.get(name)
    return value if isinstance(value, Mapping) else {}
