"""The sentence that a pair of runs comes to follows from the intervals, whichever run is better."""

from __future__ import annotations

import math

import pytest
import simko.store
from simko.store.analysis.run_comparison import Figure
from simko.store.analysis.side_by_side import _sentence, side_by_side
from simko.store.demo.small_run import write_demonstration_run


def figure(name, first, second, low, high):
    return Figure(name, first, second, low, high, "")


@pytest.mark.parametrize(
    ("one", "many", "expected"),
    [
        ((0.4, 0.4, -0.02, 0.02), (0.8, 0.9, 0.05, 0.15), "b kept more of pass@256 than a (0.900 against 0.800"),
        ((0.4, 0.4, -0.02, 0.02), (0.8, 0.9, 0.05, 0.15), "at no measurable cost in pass@1"),
        ((0.4, 0.3, -0.12, -0.08), (0.8, 0.9, 0.05, 0.15), "at a cost of 0.100 in pass@1"),
        ((0.4, 0.5, 0.08, 0.12), (0.8, 0.9, 0.05, 0.15), "and gained 0.100 in pass@1"),
        ((0.4, 0.3, -0.12, -0.08), (0.9, 0.8, -0.15, -0.05), "a kept more of pass@256 than b (0.900 against 0.800"),
        ((0.4, 0.3, -0.12, -0.08), (0.9, 0.8, -0.15, -0.05), "and gained 0.100 in pass@1"),
        ((0.3, 0.4, 0.08, 0.12), (0.9, 0.8, -0.15, -0.05), "at a cost of 0.100 in pass@1"),
        ((0.4, 0.3, -0.12, -0.08), (0.8, 0.8, -0.1, 0.1), "Neither run kept measurably more of pass@256"),
    ],
)
def test_the_sentence_follows_from_the_intervals(one, many, expected):
    text = _sentence([figure("pass@1", *one), figure("pass@256", *many)], ("a", "b"))
    assert expected in text and "one seed cannot say" in text and text.count(". ") == 0


def test_rows_are_those_of_the_two_runs(tmp_path):
    for name, method in (("one", "grpo"), ("two", "simko")):
        write_demonstration_run(tmp_path, name=name, method=method, steps=8, responses=16, seed=1)
    with simko.store.open(tmp_path / "one") as first, simko.store.open(tmp_path / "two") as second:
        result = side_by_side(first, second, ("GRPO", "SimKO"), window=1)
        again = side_by_side(first, first, ("GRPO", "itself"), window=1)
        for connection, side in ((first, "first"), (second, "second")):
            ((value,),) = connection.execute(
                "SELECT arg_max(pass_at_k, step) FROM pass_at_k WHERE k = 8 AND split = 'heldout'"
            ).fetchall()
            assert getattr(next(r.figure for r in result.rows if r.name == "pass@8"), side) == pytest.approx(value)
    assert [row.name for row in result.rows][-3:] == ["Λ(1)", "Λ(2)", "Λ(3)"]
    assert all(row.figure.change == 0 or math.isnan(row.figure.change) for row in again.rows)
    assert "Neither run" in again.sentence
