"""What reads token rows says where they were sampled; what does not need them gives the same figures."""

import pytest
import simko.store
from hypothesis import given
from hypothesis import strategies as st
from simko.store.demo.small_run import write_demonstration_run
from simko.store.reading.named_queries import named_queries
from simko.store.reading.sampled_rows import reads_token_rows, rows_in_words, sampled_runs
from simko.store.writing.row_sampling import LoggedRows

EXACT = ("rollups", "lambda_k", "pass_at_k", "concentration", "push", "entropy_push", "responses", "evals")


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """The same run with all its token rows and with some."""
    folder = tmp_path_factory.mktemp("sampled")
    write_demonstration_run(folder / "whole", name="run", steps=8, responses=16)
    write_demonstration_run(folder / "some", name="run", steps=8, responses=16, rows=LoggedRows(4, 0.25, "bfloat16"))
    with simko.store.open(folder / "whole") as whole, simko.store.open(folder / "some") as some:
        yield {"whole": whole, "some": some}


@pytest.mark.parametrize("view", EXACT)
def test_views_over_roll_ups_are_the_same(opened, view):
    answers = []
    for connection in opened.values():
        # Sums of doubles depend on the order of rows in the last digit.
        columns = ", ".join(
            f"round({name}, 9)" if kind == "DOUBLE" else name
            for name, kind, *_ in connection.execute(f"DESCRIBE {view}").fetchall()
        )
        answers.append(sorted(connection.sql(f"SELECT {columns} FROM {view}").fetchall(), key=repr))
    assert answers[0] == answers[1] and answers[0]


def test_views_over_token_rows_hold_those_that_are_there(opened):
    rows, every = LoggedRows(4, 0.25), "SELECT * FROM token_push ORDER BY step, response_id, position"
    whole, some = opened["whole"].sql(every).df(), opened["some"].sql(every).df()
    kept = whole[rows.of(whole.response_id.to_numpy()) & whole.step.isin([1, 4, 8])]
    keys = ["step", "response_id", "position", "token_id", "verdict", "weight"]
    assert kept[keys].to_numpy().tolist() == some[keys].to_numpy().tolist() and 0 < len(some) < len(whole) / 4
    for exact, rounded in zip(kept.push, some.push, strict=True):
        assert rounded == pytest.approx(exact, abs=0.05)  # made from rounded log-probabilities


@pytest.mark.parametrize("name", sorted(named_queries()))
def test_every_named_query_answers_on_sampled_rows(opened, name):
    query = named_queries()[name]
    opened["some"].sql(query.sql, params=query.parameters({}) or None).fetchall()


def test_the_runs_that_are_sampled_are_told(opened):
    assert sampled_runs(opened["whole"]) == {}
    assert sampled_runs(opened["some"]) == {"run": "token rows of 1 in 4 steps, 1 in 4 responses"}


@pytest.mark.parametrize(
    ("every", "share", "words"),
    [
        (1, 1.0, ""),
        (1, None, ""),
        (10, 1.0, "token rows of 1 in 10 steps"),
        (1, 0.1, "token rows of 1 in 10 responses"),
        (1, 0.3, "token rows of 30 % of the responses"),
        (2, 0.75, "token rows of 1 in 2 steps, 75 % of the responses"),
    ],
)
def test_words(every, share, words):
    assert rows_in_words(every, share) == words


@given(st.integers(1, 10**6), st.floats(1e-9, 1.0))
def test_words_are_there_exactly_where_rows_are_missing(every, share):
    assert bool(rows_in_words(every, share)) == (every > 1 or share < 1)


@pytest.mark.parametrize(
    ("sql", "reads"),
    [
        ("SELECT count(*) FROM tokens", True),
        ("FROM push_under('simko')", True),
        ("SELECT n_tokens FROM runs", False),
        ("SELECT 1 -- from tokens\nFROM rollups /* not tokens */", False),
    ],
)
def test_queries_that_read_token_rows(sql, reads):
    assert reads_token_rows(sql) == reads
