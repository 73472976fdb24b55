"""Scoring from what a person types to a run on disk: the door of `simko score`.

score(policy, Path("answers.jsonl"), output, Settings())
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..store.errors import UsageError
from ..store.layout.run import RUN_FILE, check_name
from .diagnosis.encoding import encode
from .diagnosis.responses import Response, read_responses
from .diagnosis.run_responses import Chosen, responses_of_run
from .diagnosis.scored_run import TAU, Scored, check_output, description, score_into
from .diagnosis.scorer import BATCH_TOKENS, ModelScorer, Scorer


@dataclass(frozen=True)
class Settings:
    """How responses are scored.

    Attributes:
        k: ranked candidates.
        temperature: what logits are divided by.
        tau: quantile of the forking rule.
        dtype: of the weights.
        batch_tokens: tokens in one forward.
        skip_long: leave out what the model's context does not hold.
    """

    k: int = 5
    temperature: float = 1.0
    tau: float = TAU
    dtype: str = "auto"
    batch_tokens: int = BATCH_TOKENS
    skip_long: bool = False

    def check(self) -> None:
        """See that values are in range.

        Raises:
            UsageError: one is not.
        """
        if not 1 <= self.k <= 1000:
            raise UsageError(f"--k {self.k}: from 1 to 1000")
        if not 0 < self.temperature <= 100:
            raise UsageError(f"--temperature {self.temperature:g}: above 0")
        if not 0 <= self.tau <= 1:
            raise UsageError(f"--tau {self.tau:g}: from 0 to 1")
        if self.batch_tokens <= 0:
            raise UsageError(f"--batch_tokens {self.batch_tokens}: above 0")


def model_scorer(where: str | Path, settings: Settings) -> ModelScorer:
    """A scorer in this process.

    Raises:
        ModelNotFound, ModelUnreadable, TokenizerMissing: the checkpoint cannot be used.
        TooManyCandidates: the vocabulary is smaller than K.
    """
    return ModelScorer.load(
        where,
        dtype=settings.dtype,
        k=settings.k,
        temperature=settings.temperature,
        tau=settings.tau,
        batch_tokens=settings.batch_tokens,
    )


def responses_at(place: Path, tokenizer: Any, chosen: Chosen) -> list[Response]:
    """The responses of a run or of a file.

    Raises:
        SimkoError: there are none, or they are of another layout.
    """
    if (place / RUN_FILE).is_file():
        return responses_of_run(place, tokenizer, chosen)
    if chosen.benchmark is not None or chosen.step is not None or chosen.dataset is not None:
        raise UsageError("--benchmark, --step and --dataset choose responses of a run; --responses is a file")
    return read_responses(place, chosen.limit)


def score(
    name: str,
    scorer: Scorer,
    responses: list[Response],
    output: Path,
    settings: Settings,
    *,
    source: str,
    progress: Callable[[int], None] = lambda responses: None,
) -> Scored:
    """Score responses and write them as a run.

    Args:
        name: of the model, for people.
        scorer: scores.
        responses: what is scored.
        output: the run's folder.
        settings: how.
        source: where the responses are from, for people.
        progress: told how many responses more are done.

    Raises:
        RunExists: the folder holds a run.
        SimkoError: the responses or the model cannot be used.
    """
    check_output(output)
    check_name(output.name)
    encoded = encode(scorer.tokenizer, responses, context=scorer.context, skip_long=settings.skip_long)
    counts = {"responses": len(encoded.scored), "empty": len(encoded.empty), "too_long": encoded.too_long}
    info = {"model": name, "dataset": source, "scored": {"responses_of": source, "by": scorer.name, **counts}}
    described = description(
        output,
        scorer.tokenizer,
        k=scorer.k,
        temperature=scorer.temperature,
        tau=settings.tau,
        entropy=scorer.entropy,
        info=info,
    )
    return score_into(output, scorer, encoded, described, config={"responses": source}, progress=progress)
