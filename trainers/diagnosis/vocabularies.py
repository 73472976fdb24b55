"""Whether two models speak the same tokens: without that, probabilities of a token do not compare."""

from __future__ import annotations

from typing import Any

from ..errors import TokenizersDiffer


def check_same_vocabulary(first: Any, second: Any, names: tuple[str, str]) -> None:
    """See that two tokenizers have the same tokens under the same ids.

    Raises:
        TokenizersDiffer: they have not; the first token that differs is named.
    """
    ours, theirs = first.get_vocab(), second.get_vocab()
    if ours == theirs:
        return
    differing = sorted(token for token in ours.keys() | theirs.keys() if ours.get(token) != theirs.get(token))
    token = differing[0]
    ids = [str(vocabulary.get(token, "missing")) for vocabulary in (ours, theirs)]
    sizes = f"{len(ours)} and {len(theirs)} tokens, {len(differing)} differ: {token!r} is {ids[0]} and {ids[1]}"
    raise TokenizersDiffer(
        f"{names[0]} and {names[1]} have different vocabularies ({sizes}), so their tokens do not compare; diagnose "
        "models of one tokenizer"
    )
