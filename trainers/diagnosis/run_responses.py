"""The responses of a run, as they are to be scored: those it trained on or scored, or those an evaluation drew.

Where the run has token rows and the model's tokenizer spells every token as the run's vocabulary does, a response is
the very tokens it was drawn with. Else its text is encoded. Evaluations keep no prompts: these come from the benchmark,
whose problems have to be those that were measured. Runs keep prompts without special tokens, so the markers of a chat
template are missing there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...probes.recording.run_folder import token_texts
from ...store.reading.catalog import Catalog
from ..errors import ResponsesUnusable
from ..evaluation.benchmarks import Asked, load_benchmark
from .responses import Response

_RESPONSES = """
SELECT attempt, step, response_id, prompt, completion, prompt_id, verdict, reward, truncated, n_tokens
FROM responses WHERE step = $1 AND prompt IS NOT NULL AND completion IS NOT NULL ORDER BY response_id
"""
_TOKENS = """
SELECT response_id, list(token_id ORDER BY position) AS ids, max(position) + 1 AS length FROM (
    SELECT t.response_id, t.token_id, t.position, t.step, min(t.step) OVER (PARTITION BY t.response_id) AS first
    FROM tokens t SEMI JOIN (SELECT attempt, response_id FROM responses WHERE step = $1) r
      ON r.attempt = t.attempt AND r.response_id = t.response_id
) WHERE step = first GROUP BY response_id
"""
_SAMPLES = """
SELECT prompt_id, completion, verdict, truncated FROM samples WHERE evaluation = $1 ORDER BY prompt_id, sample
"""
_EVALUATIONS = "SELECT evaluation, benchmark, step FROM evaluations WHERE newest ORDER BY ALL"


@dataclass(frozen=True)
class Chosen:
    """Which responses of a run.

    Attributes:
        benchmark: those that its newest evaluation on it drew; None: those the run trained on, or scored.
        step: of the rollouts or of the evaluated policy; None: the last one.
        dataset: file of the benchmark's problems, where the evaluation had one.
        limit: the first so many.
    """

    benchmark: str | None = None
    step: int | None = None
    dataset: str | None = None
    limit: int | None = None


def responses_of_run(run_dir: Path, tokenizer: Any, chosen: Chosen) -> list[Response]:
    """The responses of a run.

    Raises:
        RunNotFound: there is no such run.
        ResponsesUnusable: it has none, or none that were asked for.
    """
    catalog = Catalog(run_dir, nested=False)
    connection = catalog.connection
    try:
        steps = [step for (step,) in connection.execute("SELECT DISTINCT step FROM responses ORDER BY 1").fetchall()]
        if steps and chosen.benchmark is None:
            result = _logged(connection, tokenizer, _chosen_step(steps, chosen.step, run_dir))
        else:
            evaluation, name = _chosen_evaluation(connection, chosen, run_dir)
            file = next(f for run in catalog.runs for f in run.manifest.evaluations if f.evaluation == evaluation)
            result = _drawn(connection, tokenizer, evaluation, name, file.header, chosen.dataset)
    finally:
        connection.close()
    if not result:
        raise ResponsesUnusable(f"{run_dir} has no responses with their texts")
    return result[: chosen.limit]


def evaluated_responses(run_dir: Path, tokenizer: Any, evaluation: str, benchmark: Any) -> list[Response]:
    """The responses that one evaluation of a run drew, with the prompts of its benchmark."""
    connection = Catalog(run_dir, nested=False).connection
    try:
        return _with_prompts(connection, evaluation, benchmark, ends=not benchmark.settings.stop)
    finally:
        connection.close()


def _logged(connection: Any, tokenizer: Any, step: int) -> list[Response]:
    """Those of one rollout batch, or that were scored."""
    drawn: dict[int, tuple[list[int], int]] = {}
    if _same_texts(connection, tokenizer):
        drawn = {number: (ids, length) for number, ids, length in connection.execute(_TOKENS, [step]).fetchall()}
    result = []
    for _, _, number, prompt, completion, prompt_id, verdict, reward, truncated, n in connection.execute(
        _RESPONSES, [step]
    ).fetchall():
        ids, length = drawn.get(number, ([], -1))
        whole = len(ids) == length == n
        known = tuple(ids) if whole else None
        ended = truncated is False and known is None
        bare = prompt.removeprefix(tokenizer.bos_token or "")
        result.append(Response(bare, completion, prompt_id, verdict, reward, truncated, ended, known))
    return result


def _same_texts(connection: Any, tokenizer: Any) -> bool:
    """Whether the run's token ids mean to this tokenizer what they meant to the run's."""
    rows = connection.execute("SELECT token_id, text FROM texts ORDER BY token_id").fetchall()
    return bool(rows) and [text for _, text in rows] == token_texts(tokenizer, len(rows))


def _drawn(
    connection: Any, tokenizer: Any, evaluation: str, name: str, header: Mapping[str, Any], dataset: str | None
) -> list[Response]:
    settings = header["settings"]
    benchmark = load_benchmark(name, Asked(limit=settings.get("limit"), dataset=dataset), tokenizer)
    benchmark.task.close()
    if benchmark.digest != header.get("digest"):
        raise ResponsesUnusable(
            f"evaluation {evaluation} was of other problems than benchmark {name} has here; give its problems with "
            "--dataset, and the tokenizer it was drawn with"
        )
    return _with_prompts(connection, evaluation, benchmark, ends=not settings.get("stop"))


def _with_prompts(connection: Any, evaluation: str, benchmark: Any, *, ends: bool) -> list[Response]:
    """The samples of an evaluation; `ends`: whether those that are whole ended by the end token."""
    prompts = dict(zip(benchmark.prompt_ids, benchmark.prompts, strict=True))
    return [
        Response(prompts[prompt_id], completion, prompt_id, verdict, None, truncated, ends and truncated is False)
        for prompt_id, completion, verdict, truncated in connection.execute(_SAMPLES, [evaluation]).fetchall()
    ]


def _chosen_step(steps: Sequence[int], step: int | None, run_dir: Path) -> int:
    if step is None:
        return steps[-1]
    if step not in steps:
        raise ResponsesUnusable(f"{run_dir} has no responses of step {step}; it has some of {steps[0]} to {steps[-1]}")
    return step


def _chosen_evaluation(connection: Any, chosen: Chosen, run_dir: Path) -> tuple[str, str]:
    rows = connection.execute(_EVALUATIONS).fetchall()
    fitting = [
        row for row in rows if chosen.benchmark in (None, row[1]) and (chosen.step is None or chosen.step == row[2])
    ]
    if len(fitting) == 1:
        return fitting[0][0], fitting[0][1]
    there = ", ".join(f"{benchmark} at step {step}" for _, benchmark, step in rows)
    if not rows:
        raise ResponsesUnusable(f"{run_dir} has neither responses nor a complete evaluation")
    raise ResponsesUnusable(f"{run_dir} has evaluations on {there}; say which with --benchmark and --step")
