"""User errors in setting up a probe: each message says what cannot be seen and what to change."""

from __future__ import annotations

from ..store.errors import SimkoError


class TooManyCandidates(SimkoError):
    """K is not between 1 and the size of the vocabulary."""

    def __init__(self, k: int, vocabulary: int) -> None:
        super().__init__(
            f"cannot rank {k} candidates in a vocabulary of {vocabulary} tokens: "
            f"choose K (--probe_k, --simko_k or k=…) between 1 and {vocabulary}"
        )


class ProbeCannotSee(SimkoError):
    """Neither logits nor an LM head can be reached in the model."""


class HeadMismatch(SimkoError):
    """The ranked head would not compute what the model's own forward computes."""


class BackendMissing(SimkoError):
    """The implementation of the ranked statistics that was asked for cannot run here."""
