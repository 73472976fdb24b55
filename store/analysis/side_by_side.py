"""Two runs of one seed beside each other: what became of pass@k and Λ(k), and what that can and cannot say.

The same problems before training and after it; differences are second run minus first, with intervals over problems
(`run_comparison`). Which run kept more of pass@K is decided by that interval alone: where it holds 0, neither did.
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from .run_comparison import Figure, pass_at_k_figures, step_figures
from .run_summary import start_and_end


@dataclass(frozen=True)
class Row:
    """One figure: before training, after it in both runs, and the difference.

    Attributes:
        name: `pass@8`, `Λ(1)`.
        start: before training, in the first run; None where it was not measured.
        figure: after training.
    """

    name: str
    start: float | None
    figure: Figure


@dataclass(frozen=True)
class SideBySide:
    """What two runs came to.

    Attributes:
        rows: pass@k, then Λ(k).
        basis: what the figures were taken over, a line each.
        sentence: which kept pass@K, at what cost in pass@1, and what one seed cannot say.
    """

    rows: list[Row]
    basis: list[str]
    sentence: str


def side_by_side(
    first: duckdb.DuckDBPyConnection, second: duckdb.DuckDBPyConnection, names: tuple[str, str], window: int
) -> SideBySide:
    """Compare two runs of one seed.

    Args:
        first, second: connections with the views, on one run each.
        names: what the runs are called in the sentence.
        window: optimizer steps that Λ(k) is averaged over: those of one rollout batch.
    """
    starts = {change.name: change.start for change in start_and_end(first, window)}
    passes = pass_at_k_figures(first, second)
    steps = [figure for figure in step_figures(first, second, window) if figure.name.startswith("Λ")]
    rows = [Row(figure.name, starts.get(figure.name), figure) for figure in (*passes, *steps)]
    basis = [f"{', '.join(figure.name for figure in part)}: {part[0].basis}" for part in (passes, steps) if part]
    return SideBySide(rows, basis, _sentence(passes, names) if passes else "The runs have no evaluation in common.")


def _sentence(passes: list[Figure], names: tuple[str, str]) -> str:
    one, many = passes[0], passes[-1]
    if many.low <= 0 <= many.high:
        statement = (
            f"Neither run kept measurably more of {many.name} ({many.first:.3f} {names[0]}, {many.second:.3f} "
            f"{names[1]}, difference {_with_interval(many)}), and {one.name} differs by {_with_interval(one)}"
        )
    else:
        winner, loser = (1, 0) if many.low > 0 else (0, 1)
        values = (many.first, many.second)
        statement = (
            f"{names[winner]} kept more of {many.name} than {names[loser]} ({values[winner]:.3f} against "
            f"{values[loser]:.3f}, difference {_with_interval(many)}), {_cost(one, winner)}"
        )
    return f"{statement}; these intervals are over problems: one seed cannot say what another seed would show."


def _cost(one: Figure, winner: int) -> str:
    """What the winner paid in pass@1; changes are second run minus first."""
    change = one.change if winner else -one.change
    if one.low <= 0 <= one.high:
        return f"at no measurable cost in {one.name} ({_with_interval(one)})"
    return f"{'and gained' if change > 0 else 'at a cost of'} {abs(change):.3f} in {one.name} ({_with_interval(one)})"


def _with_interval(figure: Figure) -> str:
    return f"{figure.change:+.3f} [{figure.low:+.3f}, {figure.high:+.3f}]"
