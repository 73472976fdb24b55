"""The engine in this process: `generate` of transformers, prompts sorted by length, batches as large as tokens allow.

A row of a batch takes its prompt and the longest response allowed, so a batch has `batch_tokens` ÷ that many rows.
Prompts of like length come together, which keeps padding small; the order of batches depends on nothing but the
prompts, so one seed gives the same draws each time.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...errors import EvaluationImpossible
from ...models.loading import load_model
from ..decoding import response_texts
from ..sampling import encode_prompts, end_tokens, left_padded, sampling_mode
from ..stopping import StopTexts
from .base import Completion, Draws, before_stop

BATCH_TOKENS = 65_536
"""Tokens of prompts and responses held at once when nothing else is said."""


class TransformersEngine:
    """Draws from a model that it has loaded.

    Args:
        model, tokenizer: as `load_model` gives them.
        batch_tokens: tokens held at once.
    """

    name = "transformers"

    def __init__(self, model: Any, tokenizer: Any, *, batch_tokens: int = BATCH_TOKENS) -> None:
        self.model, self.tokenizer, self._batch_tokens = model, tokenizer, batch_tokens

    @classmethod
    def load(cls, where: str | Path, *, dtype: str = "auto", batch_tokens: int = BATCH_TOKENS) -> TransformersEngine:
        """With a checkpoint, on the GPU where there is one.

        Raises:
            ModelNotFound, ModelUnreadable, TokenizerMissing: the checkpoint cannot be used.
        """
        import torch
        from transformers.utils import logging

        logging.disable_progress_bar()  # ours counts responses over all checkpoints
        model, tokenizer = load_model(str(where), dtype=dtype)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        return cls(model.to(device).eval(), tokenizer, batch_tokens=batch_tokens)

    def generate(self, prompts: Sequence[Any], n: int, draws: Draws, *, seed: int) -> list[list[Completion]]:
        """Draw n responses to each prompt (`Engine.generate`)."""
        from transformers import GenerationConfig

        settings = GenerationConfig(
            do_sample=True,
            max_new_tokens=draws.max_tokens,
            temperature=draws.temperature,
            top_p=draws.top_p,
            top_k=0,
            pad_token_id=self.tokenizer.pad_token_id,
            bos_token_id=self.tokenizer.bos_token_id,
            eos_token_id=end_tokens(self.model, self.tokenizer),
            disable_compile=True,
        )
        ids = encode_prompts(self.tokenizer, prompts)
        result: list[list[Completion]] = [[] for _ in prompts]
        with sampling_mode(self.model, seed):
            for rows in self._batches(ids, n, draws.max_tokens):
                inputs = left_padded([ids[i] for i in rows], self.tokenizer.pad_token_id, self.model.device)
                output = self._generated(inputs, settings, draws.stop)
                drawn = output[:, inputs["input_ids"].size(1) :].tolist()
                for i, completion in zip(rows, self._completions(drawn, draws, settings.eos_token_id), strict=True):
                    result[i].append(completion)
        return result

    def _generated(self, inputs: dict[str, Any], settings: Any, stop: Sequence[str]) -> Any:
        """Token ids of a batch, prompts before responses.

        Raises:
            EvaluationImpossible: the policy's probabilities are none, its context is too short, or the batch does not
                fit the memory.
        """
        import torch
        from transformers import StoppingCriteriaList

        criteria = [StopTexts(self.tokenizer, stop, inputs["input_ids"].size(1))] if stop else []
        stopping: Any = StoppingCriteriaList(criteria)
        try:
            return self.model.generate(**inputs, generation_config=settings, stopping_criteria=stopping)
        except torch.OutOfMemoryError as error:
            raise EvaluationImpossible(
                f"{len(inputs['input_ids'])} responses at once do not fit the memory; give fewer --batch_tokens"
            ) from error
        except IndexError as error:
            raise EvaluationImpossible(
                f"prompts of {inputs['input_ids'].size(1)} tokens and {settings.max_new_tokens} more are too long for "
                "the policy; give fewer --max_tokens"
            ) from error
        except RuntimeError as error:
            if "probability tensor" not in str(error):
                raise
            raise EvaluationImpossible(
                "the policy gives NaN or infinite probabilities: its weights have diverged, or need another --dtype"
            ) from error

    def _batches(self, ids: Sequence[list[int]], n: int, max_tokens: int) -> list[list[int]]:
        """Prompts by their numbers, each n times, the longest first: what does not fit shows at once."""
        rows = [i for i in sorted(range(len(ids)), key=lambda i: (-len(ids[i]), i)) for _ in range(n)]
        batches: list[list[int]] = []
        while rows:
            size = max(1, self._batch_tokens // (len(ids[rows[0]]) + max_tokens))
            batches.append(rows[:size])
            rows = rows[size:]
        return batches

    def _completions(self, drawn: list[list[int]], draws: Draws, ends: Sequence[int]) -> list[Completion]:
        texts = response_texts(self.tokenizer, drawn, exact=draws.verbatim, ends=ends)
        result = []
        for row, text in zip(drawn, texts, strict=True):
            end = next((place for place, token in enumerate(row) if token in ends), None)
            cut = before_stop(text, draws.stop)
            n_tokens = len(row) if end is None else end + 1
            if end is None and cut != text:  # what follows a stop text is padding
                n_tokens = len(self.tokenizer(cut, add_special_tokens=False)["input_ids"])
            result.append(Completion(cut, end is None and cut == text, n_tokens))
        return result

    def close(self) -> None:
        """Free the model's memory."""
        import torch

        self.model = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
