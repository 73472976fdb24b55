"""What a scorer is, and the one in this process: a model of transformers behind the project's ranked head.

The statistics are those of training (`probes/statistics`): the same definitions, the same float32 arithmetic over the
model's logits, and no logits but those of a chunk of tokens are held. A model that the ranked head cannot stand in for
is asked for its logits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, Self

from ...probes.errors import HeadMismatch, ProbeCannotSee
from ...probes.head.models import virtual_tokens
from ...probes.head.ranked_head import RankedHead, add_ranked_head
from ...probes.recording.capture import INPUTS, capture
from ...probes.recording.handover import deferred_batch
from ...store.writing.batch import TokenBatch
from ..errors import EvaluationImpossible
from ..models.loading import load_model
from .encoding import Encoded

BATCH_TOKENS = 16_384
"""Tokens of prompts and responses in one forward when nothing else is said."""


class Scorer(Protocol):
    """Gives the statistics of responses' tokens.

    Attributes:
        name: `transformers` or `server`.
        tokenizer: of the model.
        context: tokens it takes, prompt and response together; None where that is not known.
        k: ranked candidates.
        temperature: what logits are divided by.
        entropy: `exact`, or `none` where whole distributions are not seen.
        vocabulary: how many tokens have a text to be kept.
    """

    name: str
    tokenizer: Any
    context: int | None
    k: int
    temperature: float
    entropy: str
    vocabulary: int

    def batches(self, responses: Sequence[Encoded]) -> Iterator[TokenBatch]:
        """Statistics of responses, some at a time, as rows of step 0.

        Raises:
            SimkoError: the model cannot give them.
        """
        ...

    def close(self) -> None:
        """Let go of the model, or of the connection."""
        ...


class ModelScorer:
    """Scores by a model in this process.

    Args:
        model, tokenizer: as `load_model` gives them.
        k: ranked candidates.
        temperature: logits are divided by it.
        tau: quantile of the forking rule.
        batch_tokens: tokens in one forward; a longer response has one of its own.

    Raises:
        TooManyCandidates: K is not in 1..V.
    """

    name, entropy = "transformers", "exact"

    def __init__(
        self, model: Any, tokenizer: Any, *, k: int, temperature: float, tau: float, batch_tokens: int = BATCH_TOKENS
    ) -> None:
        self.model, self.tokenizer, self.k, self.temperature, self._tau = model.eval(), tokenizer, k, temperature, tau
        self._batch_tokens = batch_tokens
        limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        self.context = int(limit) if limit else None
        self.vocabulary = max(len(tokenizer), int(model.get_input_embeddings().weight.shape[0]))
        self._head: RankedHead | None
        try:
            self._head = add_ranked_head(model, k=k, temperature=temperature)
        except (HeadMismatch, ProbeCannotSee):
            self._head = None

    @classmethod
    def load(cls, where: str | Path, *, dtype: str = "auto", **settings: Any) -> Self:
        """With a checkpoint, on the GPU where there is one.

        Raises:
            ModelNotFound, ModelUnreadable, TokenizerMissing: the checkpoint cannot be used.
        """
        import torch

        model, tokenizer = load_model(str(where), dtype=dtype)
        return cls(model.to("cuda" if torch.cuda.is_available() else "cpu"), tokenizer, **settings)

    def batches(self, responses: Sequence[Encoded]) -> Iterator[TokenBatch]:
        """Statistics of responses (`Scorer.batches`), those of like length together."""
        rows = sorted(responses, key=lambda item: (-item.length, item.number))
        while rows:
            size = max(1, self._batch_tokens // rows[0].length)
            yield self._batch(rows[:size])
            rows = rows[size:]

    def _batch(self, rows: Sequence[Encoded]) -> TokenBatch:
        import torch

        inputs: dict[str, Any] = dict.fromkeys(INPUTS)
        inputs |= self._inputs(rows) | {"virtual_tokens": virtual_tokens(self.model)}
        given = {"input_ids": inputs["input_ids"], "attention_mask": inputs["attention_mask"]}
        try:
            with torch.no_grad():
                if self._head is not None:
                    output = self.model(**given, labels=inputs["labels"], ranked=True)
                else:
                    output = self.model(**given, use_cache=False)
                stats = capture(output, inputs, self.k, self.temperature)
        except torch.OutOfMemoryError as error:
            raise EvaluationImpossible(
                f"{len(rows)} responses of up to {rows[0].length} tokens do not fit the memory; give fewer "
                "--batch_tokens"
            ) from error
        about = {
            "response_id": [item.number for item in rows],
            "verdict": [item.response.verdict for item in rows],
        }
        return deferred_batch(
            stats, about, inputs, step=0, tau=self._tau, own_mask=True, tokenizer=None, names_responses=False
        )()

    def _inputs(self, rows: Sequence[Encoded]) -> dict[str, Any]:
        """Ids, mask and labels, (B, longest); padding comes last, where no token sees it."""
        import torch

        width = max(item.length for item in rows)
        ids = torch.full((len(rows), width), int(self.tokenizer.pad_token_id or 0))
        mask, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
        for place, item in enumerate(rows):
            start, end = len(item.prompt_ids), item.length
            ids[place, :end] = torch.tensor([*item.prompt_ids, *item.token_ids])
            mask[place, :end] = 1
            labels[place, start:end] = ids[place, start:end]
        device = self.model.device
        return {"input_ids": ids.to(device), "attention_mask": mask.to(device), "labels": labels.to(device)}

    def close(self) -> None:
        """Leave the model as it was."""
        if self._head is not None:
            self._head.remove()
