"""The columns of every table a run writes: name, Arrow type and meaning, in one place.

There are six Parquet tables: `tokens`, `responses`, `rollups`, `evals`, `costs` and `samples`. Columns are flat; the
entropy histogram is the one list. Writer options and views are derived from these definitions, and a test compares
`docs/schema.md` with them. Log-probabilities and entropies are in nats. K, the number of ranked candidates, is the
run's `--probe_k`. It fixes how many `logp_k` and `id_k` columns a run has, so tables of different runs are read by
name.

Invariants: a row is never rewritten; `(attempt, worker, response_id, step, position)` is unique in `tokens`;
`(attempt, step, worker, verdict)` is unique in `rollups`; sums in `rollups` run over *all* scored tokens, even when
token rows are sampled.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

SCHEMA_VERSION = 6
"""Written to `run.json`. Readers open this version and older ones; a newer one is refused by name.

Version 2 added what the push needs: five columns of `tokens`, five of `rollups`. In runs of version 1 they are NULL.
Version 3 added the table `costs`, empty in older runs.
Version 4 added checksums of files, lines and `run.json`, and what figures mean to each attempt.
Version 5 added what the sampler says of its tokens, `tokens.sampler_logprob`, and evaluations beside training: seven
columns of `evals`, the table `samples`. In older runs they are NULL, and the table is empty.
Version 6 added the entropy push: `collision_logprob` at every token (older runs hold it only where there is an entropy
bonus), `entropy_slope`, four sums of `rollups`. In older runs they are NULL.
"""

Verdict = Literal["right", "wrong", "unjudged"]
VERDICTS: tuple[Verdict, ...] = ("right", "wrong", "unjudged")

TableName = Literal["tokens", "responses", "rollups", "evals", "costs", "samples"]
TABLES: tuple[TableName, ...] = ("tokens", "responses", "rollups", "evals", "costs", "samples")

ENTROPY_BIN_WIDTH = 0.1
"""Width in nats of a bin of `rollups.entropy_histogram`; bin b counts tokens with b·width ≤ H < (b+1)·width."""
ENTROPY_BINS = 128
"""Number of bins; the last one is open upwards (12.7 nats and more: ln V of the largest vocabularies is about 12.5)."""


K_GRID = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
"""The k at which pass@k is estimated, in views, evaluations and studies: as far as the responses of a problem reach."""
K_SHOWN = (1, 8, 64, 256)
"""Those among them that tables show."""


@dataclass(frozen=True)
class Column:
    """One column: its name, Arrow type and what it means. `ranked` columns repeat for k = 1..K as `name_k`."""

    name: str
    type: pa.DataType
    doc: str
    ranked: bool = False
    dictionary: bool = False
    """Whether the writer dictionary-encodes it: repeated integers and strings yes, floats never (larger and slower)."""
    split: bool = False
    """Whether the writer stores the first bytes of all values together, then the second bytes, and so on. Statistics of
    tokens share sign and exponent, and two bytes of zeros when rounded to bfloat16, so they compress well that way.
    Only floats are split: ids would take 1 to 2 bytes per row less, but DuckDB before 2.0 cannot read integers so."""


def _ranked(name: str, type: pa.DataType, doc: str) -> Column:
    return Column(name, type, doc, ranked=True)


def _statistic(name: str, doc: str, ranked: bool = False) -> Column:
    return Column(name, pa.float32(), doc, ranked=ranked, split=True)


def _key(name: str, type: pa.DataType, doc: str) -> Column:
    return Column(name, type, doc, dictionary=True)


_ATTEMPT = _key(
    "attempt", pa.int32(), "Which start of the run wrote the row (1, 2, …); views take the newest attempt of each step."
)
_WORKER = _key("worker", pa.int32(), "Rank of the process that scored the row.")

TOKENS: tuple[Column, ...] = (
    _ATTEMPT,
    _key(
        "step",
        pa.int32(),
        "Optimizer step (1, 2, …) whose loss scored the token: the distribution logged is the one trained on.",
    ),
    _WORKER,
    _key("response_id", pa.int64(), "The response, unique within an attempt; joins `responses`."),
    _key("position", pa.int32(), "Index of the token within its response, from 0."),
    _key("token_id", pa.int32(), "Vocabulary id of the sampled token."),
    _statistic("logprob", "Log-probability of the sampled token."),
    _key(
        "rank", pa.int32(), "Rank of the sampled token: 1 + number of vocabulary entries with a strictly larger logit."
    ),
    _statistic("entropy", "Exact entropy H of the next-token distribution over the whole vocabulary."),
    _statistic("collision", "Collision probability Σ_v p_v²."),
    Column(
        "forking", pa.bool_(), "Whether the run's forking rule (`run.json`) calls this a forking (high-entropy) token."
    ),
    Column(
        "ratio", pa.float32(), "Probability ratio γ = π(y)/π_old(y) of the sampled token; NULL if no loss was seen."
    ),
    Column(
        "weight",
        pa.float32(),
        "w: the loss moves the logits along w(ẽ - p); Aγ, or 0 where clipped. NULL if no loss was seen.",
    ),
    _key(
        "smoothing", pa.float32(), "Share of the target ẽ that lies on the top candidates instead of the sampled token."
    ),
    _key(
        "entropy_weight",
        pa.float32(),
        "h: the loss also moves the logits along h·∂H/∂x (entropy bonus). NULL if there is none.",
    ),
    _statistic("collision_logprob", "Σ_v p_v² log p_v; before schema version 6 only where h is, NULL elsewhere."),
    Column(
        "entropy_slope",
        pa.float32(),
        "Σ_v p_v² (log p_v + H)², the squared norm of ∂H/∂x, logged where h is. NULL elsewhere.",
    ),
    _statistic(
        "sampler_logprob",
        "Log-probability that the sampler reported for the token when it drew it; NULL where the sampler reports none.",
    ),
    _statistic(
        "logp", "Log-probability of the rank-k candidate, in the precision of `--probe_precision`.", ranked=True
    ),
    _ranked("id", pa.int32(), "Vocabulary id of the rank-k candidate; ties go to the lowest id."),
)

RESPONSES: tuple[Column, ...] = (
    _ATTEMPT,
    _key("generation", pa.int32(), "Rollout batch (0, 1, …) the response was sampled in."),
    _key("step", pa.int32(), "First optimizer step that trains on that rollout batch."),
    _WORKER,
    Column("response_id", pa.int64(), "The response, unique within an attempt."),
    Column("prompt_id", pa.string(), "Identity of the prompt, stable over the run.", dictionary=True),
    _key("group_id", pa.int64(), "The group of responses to one prompt within a rollout batch."),
    Column("reward", pa.float32(), "Scalar reward; NULL where the response could not be judged."),
    Column("verdict", pa.string(), "`right`, `wrong` or `unjudged` (the grader could not decide).", dictionary=True),
    Column("advantage", pa.float32(), "Advantage of the response before any per-token change by the method."),
    _key("n_tokens", pa.int32(), "Tokens of the response that count in the loss."),
    Column("truncated", pa.bool_(), "Whether the response hit the length limit instead of ending itself."),
    Column("prompt", pa.string(), "Prompt text as given to the model.", dictionary=True),
    Column("completion", pa.string(), "Response text."),
)

ROLLUPS: tuple[Column, ...] = (
    _ATTEMPT,
    _key("step", pa.int32(), "Optimizer step whose loss scored the tokens."),
    _WORKER,
    Column("verdict", pa.string(), "`right`, `wrong` or `unjudged`.", dictionary=True),
    Column("n_responses", pa.int64(), "Responses with at least one counted token."),
    Column("n_tokens", pa.int64(), "Tokens counted."),
    Column("n_forking", pa.int64(), "Forking tokens among them."),
    Column("n_rank_1", pa.int64(), "Tokens whose sampled candidate was rank 1."),
    Column("n_nonfinite", pa.int64(), "Tokens left out of every sum because a statistic was NaN or infinite."),
    Column("sum_logprob", pa.float64(), "Σ over tokens of the sampled log-probability."),
    Column("sum_entropy", pa.float64(), "Σ over tokens of H."),
    Column("sum_collision", pa.float64(), "Σ over tokens of Σ_v p_v²."),
    Column("response_sum_logprob", pa.float64(), "Σ over responses of the response's mean sampled log-probability."),
    Column("response_sum_entropy", pa.float64(), "Σ over responses of the response's mean entropy."),
    _ranked("sum_logp", pa.float64(), "Σ over tokens of log p(rank k)."),
    _ranked("sum_p", pa.float64(), "Σ over tokens of p(rank k)."),
    _ranked("forking_sum_logp", pa.float64(), "Σ over forking tokens of log p(rank k)."),
    _ranked("forking_sum_p", pa.float64(), "Σ over forking tokens of p(rank k)."),
    _ranked(
        "response_sum_logp",
        pa.float64(),
        "Σ over responses of the response's mean log p(rank k); ÷ n_responses it is Λ(k).",
    ),
    _ranked("sum_push", pa.float64(), "Σ over tokens of push_k; NULL where no loss was seen."),
    _ranked("forking_sum_push", pa.float64(), "Σ over forking tokens of push_k."),
    Column("n_rescored", pa.int64(), "Tokens scored again after the step (`--probe_rescore`). NULL if none were."),
    _ranked("sum_shift", pa.float64(), "Σ over rescored tokens of the change of log p(rank k) by the step."),
    _ranked("forking_sum_shift", pa.float64(), "Σ over rescored forking tokens of that change."),
    Column(
        "sum_entropy_push",
        pa.float64(),
        "Σ over tokens of the entropy push; NULL where no loss was seen.",
    ),
    Column("forking_sum_entropy_push", pa.float64(), "Σ over forking tokens of the entropy push."),
    Column("sum_entropy_shift", pa.float64(), "Σ over rescored tokens of the change of H by the step."),
    Column("forking_sum_entropy_shift", pa.float64(), "Σ over rescored forking tokens of that change."),
    Column(
        "entropy_histogram",
        pa.list_(pa.int64()),
        f"Token counts by entropy, bins of {ENTROPY_BIN_WIDTH} nats, the last open upwards.",
    ),
)

EVALS: tuple[Column, ...] = (
    _ATTEMPT,
    _key("step", pa.int32(), "Optimizer steps done when the policy was evaluated (0 = before training)."),
    _WORKER,
    Column("split", pa.string(), "Which problems: `heldout`, `validation`, `train` or `benchmark`.", dictionary=True),
    Column("source", pa.string(), "`exact` (answers enumerated) or `sampled` (n drawn, c right).", dictionary=True),
    Column("prompt_id", pa.string(), "Identity of the problem, stable over the run.", dictionary=True),
    Column("n", pa.int32(), "Responses judged right or wrong (`sampled`; NULL when exact)."),
    Column("c", pa.int32(), "Right ones among them (`sampled`; NULL when exact)."),
    Column(
        "n_unjudged", pa.int32(), "Responses the grader could not decide, not part of n (`sampled`; NULL when exact)."
    ),
    Column(
        "success", pa.float64(), "Exact probability that one sampled response is right (`exact`; NULL when sampled)."
    ),
    Column(
        "evaluation",
        pa.string(),
        "Identity of the evaluation beside training (`simko eval`) that wrote the row; NULL: the run's own.",
        dictionary=True,
    ),
    Column("benchmark", pa.string(), "Its benchmark; NULL: the run's own problems.", dictionary=True),
    Column("n_truncated", pa.int32(), "Responses that hit the length limit, judged or not. NULL where not recorded."),
    Column("n_unextracted", pa.int32(), "Responses without a readable answer. NULL where that cannot be told."),
    _key("samples_requested", pa.int32(), "Responses asked for per problem. NULL where not recorded."),
    Column("temperature", pa.float64(), "What logits were divided by. NULL: the run's own.", dictionary=False),
    Column("top_p", pa.float64(), "Nucleus that responses were drawn from. NULL: the run's own.", dictionary=False),
)

SAMPLES: tuple[Column, ...] = (
    Column("evaluation", pa.string(), "Identity of the evaluation beside training that drew it.", dictionary=True),
    Column("benchmark", pa.string(), "Its benchmark.", dictionary=True),
    _key("step", pa.int32(), "Optimizer steps done when the policy was evaluated (0 = before training)."),
    Column("prompt_id", pa.string(), "Identity of the problem.", dictionary=True),
    Column("sample", pa.int32(), "Which response to the problem, from 0."),
    Column("verdict", pa.string(), "`right`, `wrong` or `unjudged` (the grader could not decide).", dictionary=True),
    Column("n_tokens", pa.int32(), "Tokens of the response, its end included. NULL where the server does not tell."),
    Column("truncated", pa.bool_(), "Whether the response hit the length limit instead of ending itself."),
    Column("extracted", pa.bool_(), "Whether it holds a readable answer. NULL where the task cannot tell."),
    Column("completion", pa.string(), "Response text."),
)

COSTS: tuple[Column, ...] = (
    _ATTEMPT,
    _key("step", pa.int32(), "Optimizer step that ended. Every figure counts from the end of the step before."),
    _WORKER,
    Column(
        "step_ms", pa.float64(), "Wall time of the step, ms. NULL for the first step, whose beginning was not seen."
    ),
    Column(
        "capture_ms",
        pa.float64(),
        "Wall time the training thread spent in the probe, ms, without the wait for the queue.",
    ),
    Column(
        "device_ms", pa.float64(), "Time the probe's own kernels and copies took on a CUDA device, ms. NULL elsewhere."
    ),
    Column("queue_wait_ms", pa.float64(), "Wall time the training thread waited for room in the queue, ms."),
    Column("write_ms", pa.float64(), "Wall time the recorder's thread spent writing files, ms."),
    Column("n_rows", pa.int64(), "Rows written to files, of every table."),
    Column("n_bytes", pa.int64(), "Bytes of those files."),
    Column("n_dropped", pa.int64(), "Micro-batches scored but not logged."),
)

COLUMNS: dict[TableName, tuple[Column, ...]] = {
    "tokens": TOKENS,
    "responses": RESPONSES,
    "rollups": ROLLUPS,
    "evals": EVALS,
    "costs": COSTS,
    "samples": SAMPLES,
}


def expand(columns: tuple[Column, ...], k: int) -> Iterator[tuple[str, Column]]:
    """Yield (column name on disk, definition), each ranked column once per rank: `logp_1`, …, `logp_k`."""
    for column in columns:
        if column.ranked:
            for rank in range(1, k + 1):
                yield f"{column.name}_{rank}", column
        else:
            yield column.name, column


def arrow_schema(table: TableName, k: int) -> pa.Schema:
    """Arrow schema of a table for a run that logs `k` ranked candidates."""
    return pa.schema([(name, column.type) for name, column in expand(COLUMNS[table], k)])


def dictionary_columns(table: TableName, k: int) -> list[str]:
    """Names of the columns the Parquet writer dictionary-encodes."""
    return [name for name, column in expand(COLUMNS[table], k) if column.dictionary]


def split_columns(table: TableName, k: int) -> list[str]:
    """Names of the columns the Parquet writer splits by bytes."""
    return [name for name, column in expand(COLUMNS[table], k) if column.split]
