"""The table that ends `simko score`: figures of the responses by verdict."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...store.analysis.scored_figures import ScoredFigures, scored_figures
from ...store.reading.catalog import Catalog
from .next_commands import next_commands
from .output import printable
from .tables import Column, Table, number

_QUERY = "SELECT text, rank, exp(logprob) AS p FROM tokens WHERE rank > 1 ORDER BY logprob LIMIT 10"


def print_scored(run_dir: Path, name: str, *, empty: int, too_long: int, everything: bool) -> None:
    """Print what responses came to.

    Args:
        run_dir: the scored run.
        name: of the model.
        empty, too_long: responses that no figure counts.
        everything: every column, however wide.
    """
    connection = Catalog(run_dir, nested=False).connection
    try:
        rows = scored_figures(connection, run_dir.name)
    finally:
        connection.close()
    print(f"{printable(name)}: {printable(str(run_dir))}\n")
    scored_table(rows).print(everything=everything)
    print("Λ(k): mean log p(rank k) over a response's tokens, then over responses, nats; entropy: mean over tokens")
    if rows and rows[0].entropy is None:
        print("entropy and forking tokens: not known, a server tells no whole distributions")
    if empty:
        print(f"{empty} empty response{'s' * (empty != 1)}: without a token, in no figure")
    if too_long:
        print(f"{too_long} response{'s' * (too_long != 1)} longer than the model's context: left out")
    print("\n".join(next_commands([run_dir], _QUERY)))


def scored_table(rows: Sequence[ScoredFigures]) -> Table:
    """A row per verdict."""
    ranks = max((len(row.lambdas) for row in rows), default=0)
    table = Table(
        Column("verdict"),
        Column("responses", numeric=True, importance=8),
        Column("tokens", numeric=True, importance=3),
        *(Column(f"Λ({k})", numeric=True, importance=9 if k <= 3 else 1) for k in range(1, ranks + 1)),
        Column("Λ sampled", numeric=True, importance=5),
        Column("entropy", numeric=True, importance=7),
        Column("forking", numeric=True, importance=4),
        Column("rank 1", numeric=True, importance=6),
        Column("mean rank", numeric=True, importance=6),
    )
    for row in rows:
        table.add(
            row.verdict,
            row.responses,
            row.tokens,
            *(number(value, 3) for value in row.lambdas),
            number(row.lambda_sample, 3),
            number(row.entropy, 3),
            number(None if row.forking is None else 100 * row.forking, 1, least=0, after=" %"),
            number(100 * row.rank_1, 1, least=0, after=" %"),
            number(row.mean_rank, 2, least=1),
        )
    return table
