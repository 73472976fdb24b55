"""The words that the terminal and the report have in common about a diagnosis."""

from __future__ import annotations

INTERVALS = "95 % bootstrap intervals over problems; differences are paired by problem, and on the same tokens by token"
OWN = (
    "Λ sampled falls under any other model than the one that drew the responses (by the KL divergence per token), and "
    "so do single tokens; Λ(k) need not"
)
CAUTION = "by chance alone one problem in twenty differs at p < .05; Holm's p allows for the number of problems"


def shown_token(text: str, token_id: int) -> str:
    """A token's text with its spaces and line ends to be seen; its id where it has no text."""
    shown = text.replace("\n", "⏎").replace("\t", "⇥").replace(" ", "␣")
    return shown or f"#{token_id}"
