"""What `simko diagnose` prints: the verdict, pass@k, Λ(k) on the same tokens, tokens and problems that changed."""

from __future__ import annotations

from pathlib import Path

from ...store.analysis.diagnosis import Diagnosis, Problem
from ...store.analysis.diagnosis_folder import CELLS, SIDES
from ...store.analysis.diagnosis_words import CAUTION, INTERVALS, OWN, shown_token
from ...store.layout.schema import K_SHOWN
from .next_commands import installed_command, quoted
from .output import printable
from .tables import Column, Table, number

_SHOWN = 8
_QUERY = "SELECT run, k, lambda_k, probability FROM lambda_k WHERE verdict = 'all' ORDER BY run, k"


def print_diagnosis(diagnosis: Diagnosis, folder: Path, *, everything: bool) -> None:
    """Print a diagnosis.

    Args:
        diagnosis: what was found.
        folder: where it is.
        everything: every column, however wide.
    """
    content = diagnosis.content
    print()
    for side in SIDES:
        print(f"{side}: {printable(content[side])}")
    print()
    for table in (_passes(diagnosis), _cells(diagnosis), _same_tokens(diagnosis)):
        table.print(everything=everything)
        print()
    for whose in SIDES:
        print(f"tokens of {whose}'s responses that changed most (sum of Δ log p)")
        _tokens(diagnosis, whose).print(everything=everything)
        print()
    changed = [problem for problem in diagnosis.problems if problem.p < 0.05]
    if changed:
        print("problems whose share of right responses changed, p < .05")
        _problems(changed[:_SHOWN]).print(everything=everything)
    print(printable(problems_in_words(diagnosis)))
    print(INTERVALS)
    print(printable(OWN))
    print()
    print(printable(diagnosis.sentence))
    print(f"ask it:     {quoted(installed_command('simko'))} query {quoted(_QUERY)} --runs {quoted(str(folder))}")


def problems_in_words(diagnosis: Diagnosis) -> str:
    """How many problems were gained and lost, and what chance alone would give."""
    return f"{diagnosis.problem_counts}; {CAUTION}" if diagnosis.problems else "no problem has judged responses of both"


def _passes(diagnosis: Diagnosis) -> Table:
    table = Table(
        Column("pass@k"),
        Column("source"),
        Column("base", numeric=True, importance=5),
        Column("tuned", numeric=True, importance=5),
        Column("tuned - base", numeric=True, importance=9),
        Column("problems", numeric=True, importance=1),
    )
    for row in diagnosis.passes:
        if row.k in K_SHOWN:
            change = row.change
            table.add(
                change.name,
                row.source,
                _with_interval(row.base, *row.base_interval),
                _with_interval(row.tuned, *row.tuned_interval),
                _with_interval(change.mean, change.low, change.high, sign="+"),
                row.problems,
            )
    return table


def _cells(diagnosis: Diagnosis) -> Table:
    ranks = len(next(iter(diagnosis.cells.values())).lambdas)
    table = Table(
        Column("responses of"),
        Column("probabilities of"),
        Column("tokens", numeric=True, importance=1),
        *(Column(f"Λ({k})", numeric=True, importance=9 if k <= 3 else 1) for k in range(1, ranks + 1)),
        Column("Λ sampled", numeric=True, importance=6),
        Column("entropy", numeric=True, importance=5),
        Column("rank 1", numeric=True, importance=4),
    )
    for whose, under in CELLS:
        row = diagnosis.cells[whose, under]
        table.add(
            whose,
            under,
            row.tokens,
            *(number(value, 3) for value in row.lambdas),
            number(row.lambda_sample, 3),
            number(row.entropy, 3),
            number(100 * row.rank_1, 1, after=" %"),
        )
    return table


def _same_tokens(diagnosis: Diagnosis) -> Table:
    table = Table(
        Column("same tokens"),
        Column("responses of"),
        Column("base", numeric=True, importance=5),
        Column("tuned", numeric=True, importance=5),
        Column("tuned - base", numeric=True, importance=9),
    )
    for row in diagnosis.same_tokens:
        change = row.change
        shown = _with_interval(change.mean, change.low, change.high, sign="+")
        table.add(change.name, row.whose, number(row.base, 3), number(row.tuned, 3), shown)
    return table


def _tokens(diagnosis: Diagnosis, whose: str) -> Table:
    names = ("times", "p base", "p tuned", "Δ log p", "rank 1 base", "rank 1 tuned", "Δ rank")
    table = Table(Column("token"), *(Column(name, numeric=True, importance=-place) for place, name in enumerate(names)))
    for row in diagnosis.tokens[whose][:_SHOWN]:
        table.add(
            shown_token(row.text, row.token_id),
            row.n,
            number(row.p_base, 3),
            number(row.p_tuned, 3),
            number(row.change, 3, sign="+"),
            number(100 * row.first_base, 0, least=0, after=" %"),
            number(100 * row.first_tuned, 0, least=0, after=" %"),
            number(row.rank_change, 2, sign="+"),
        )
    return table


def _problems(problems: list[Problem]) -> Table:
    table = Table(
        Column("problem", wraps=True), Column("base", numeric=True), Column("tuned", numeric=True),
        Column("p", numeric=True), Column("p, Holm", numeric=True),
    )  # fmt: skip
    for problem in problems:
        counts = (f"{c} of {n}" for n, c in (problem.base, problem.tuned))
        table.add(problem.prompt_id, *counts, f"{problem.p:.2g}", f"{problem.adjusted:.2g}")
    return table


def _with_interval(mean: float, low: float, high: float, *, sign: str = "") -> str:
    if low != low:
        return f"{mean:{sign}.3f}"
    return f"{mean:{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]"
