"""What scored responses came to, by verdict: Λ(1..K), entropy, forking share, ranks. Read from the run's log by SQL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_SUMS = """
WITH ranks AS (
    SELECT t.run, coalesce(r.verdict, 'all') AS verdict, avg(t.rank) AS mean_rank
    FROM tokens t JOIN responses r ON r.run = t.run AND r.attempt = t.attempt AND r.response_id = t.response_id
    WHERE t.run = $1 GROUP BY GROUPING SETS ((t.run), (t.run, r.verdict))
),
sums AS (
    SELECT run, coalesce(verdict, 'all') AS verdict, sum(n_responses)::BIGINT AS n_responses,
           sum(n_tokens)::BIGINT AS n_tokens, sum(sum_entropy) / nullif(sum(n_tokens), 0) AS entropy,
           sum(n_forking) / nullif(sum(n_tokens), 0) AS forking, sum(n_rank_1) / nullif(sum(n_tokens), 0) AS rank_1
    FROM rollups WHERE run = $1 AND step = 0 GROUP BY GROUPING SETS ((run), (run, verdict))
)
SELECT verdict, n_responses, n_tokens, entropy, forking, rank_1, mean_rank
FROM sums LEFT JOIN ranks USING (run, verdict)
ORDER BY list_position(['all', 'right', 'wrong', 'unjudged'], verdict)
"""
_LAMBDAS = """
SELECT verdict, k, lambda_k, lambda_sample, probability, forking_probability
FROM lambda_k WHERE run = $1 AND step = 0 ORDER BY verdict, k
"""


@dataclass(frozen=True)
class ScoredFigures:
    """Figures of the responses of one verdict.

    Attributes:
        verdict: `all`, `right`, `wrong` or `unjudged`.
        responses, tokens: how many.
        lambdas: Λ(1..K), nats.
        lambda_sample: the same mean of the log-prob of the response's own tokens.
        entropy: mean over tokens, nats; None where whole distributions were not seen.
        forking: share of forking tokens; None as well.
        rank_1: share of tokens that are the first candidate.
        mean_rank: of the tokens.
        probabilities, forking_probabilities: mean p of the rank-k candidate over all and over forking tokens.
    """

    verdict: str
    responses: int
    tokens: int
    lambdas: tuple[float, ...]
    lambda_sample: float
    entropy: float | None
    forking: float | None
    rank_1: float
    mean_rank: float
    probabilities: tuple[float, ...]
    forking_probabilities: tuple[float | None, ...]


def scored_figures(connection: Any, run: str) -> list[ScoredFigures]:
    """Figures of a scored run, all responses first.

    Args:
        connection: with the views, on the run.
        run: its name.
    """
    ranked: dict[str, list[Any]] = {}
    for verdict, *rest in connection.execute(_LAMBDAS, [run]).fetchall():
        ranked.setdefault(verdict, []).append(rest)
    result = []
    for verdict, responses, tokens, entropy, forking, rank_1, mean_rank in connection.execute(_SUMS, [run]).fetchall():
        rows = ranked.get(verdict, [])
        if rows:
            _, lambdas, samples, probabilities, forked = zip(*rows, strict=True)
            result.append(
                ScoredFigures(
                    verdict, responses, tokens, lambdas, samples[0], entropy, forking, rank_1, mean_rank,
                    probabilities, forked,
                )
            )  # fmt: skip
    return result
