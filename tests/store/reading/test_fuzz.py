"""Any batch is written and summed, any columns in a file are survived, whatever hypothesis thinks of."""

from __future__ import annotations

import math
import shutil
import tempfile
from pathlib import Path

import manifests
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from batches import expected_lambda
from effort import effort
from evaluations import write_evaluation
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from simko.dashboard.mirror import Mirror
from simko.store import Recorder, TokenBatch
from simko.store.demo.small_run import write_demonstration_run
from simko.store.layout.checksums import file_checksum
from simko.store.layout.manifest import read_manifest
from simko.store.layout.run import create_or_resume
from simko.store.layout.schema import TABLES, VERDICTS
from simko.store.reading.catalog import Catalog
from simko.store.reading.views import VIEWS, column_types

ANY_FLOAT = st.one_of(
    st.floats(-50, 0, width=32), st.sampled_from([math.nan, math.inf, -math.inf, -0.0, 1e-45, -3.4e38, 88.0])
)
ID = st.integers(0, 2**31 - 1)


@st.composite
def batches(draw, k, step):
    """Ragged, empty, all masked, not finite; every response id but the last of a run."""
    shape = draw(st.integers(0, 4)), draw(st.integers(0, 5))

    def floats(*more):
        return draw(hnp.arrays(np.float32, (*shape, *more), elements=ANY_FLOAT))

    def integers(*more):
        return draw(hnp.arrays(np.int64, (*shape, *more), elements=ID))

    return TokenBatch(
        step=step,
        response_id=1000 * step + np.arange(shape[0], dtype=np.int64),
        verdict=draw(hnp.arrays(np.int8, shape[0], elements=st.integers(0, len(VERDICTS) - 1))),
        mask=draw(hnp.arrays(bool, shape)),
        token_id=integers(),
        logprob=floats(),
        rank=integers(),
        entropy=floats(),
        collision=floats(),
        forking=draw(hnp.arrays(bool, shape)),
        top_logprob=floats(k),
        top_id=integers(k),
    )


@settings(max_examples=effort(40, 10), deadline=None)
@given(data=st.data(), k=st.integers(1, 6))
def test_any_batch_is_written_and_summed(data, k):
    steps = [data.draw(batches(k, step)) for step in range(1, data.draw(st.integers(1, 3)) + 1)]
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        create_or_resume(run, {"probe": {"k": k}}, resume=False)
        with Recorder(run, k=k, attempt=1, flush_seconds=0) as recorder:
            for batch in steps:
                recorder.put(batch)
                recorder.end_step(batch.step)
        assert recorder.error is None
        catalog = Catalog(run)
        assert catalog.problems == []
        rows = dict(catalog.connection.execute("SELECT step, count(*) FROM tokens GROUP BY step").fetchall())
        counted = "SELECT step, sum(n_tokens), sum(n_nonfinite) FROM rollups GROUP BY step"
        sums = {step: (tokens, lost) for step, tokens, lost in catalog.connection.execute(counted).fetchall()}
        lambdas = "SELECT step, lambda_k, n_tokens FROM lambda_k WHERE verdict = 'all' AND k = 1"
        lambda_1 = {step: (value, n) for step, value, n in catalog.connection.execute(lambdas).fetchall()}
        for batch in steps:
            assert rows.get(batch.step, 0) == batch.mask.sum() == sum(sums.get(batch.step, (0, 0)))
            expected = expected_lambda([batch], 1)
            value, n = lambda_1.get(batch.step, (math.nan, 0))
            assert n == expected["n_tokens"]
            np.testing.assert_allclose(value, expected["lambda_k"], rtol=1e-6)
        for view in VIEWS:
            catalog.connection.execute(f"SELECT max(hash(COLUMNS(*))) FROM {view}").fetchall()


TYPES = {
    "INTEGER": pa.int32(), "BIGINT": pa.int64(), "FLOAT": pa.float32(), "DOUBLE": pa.float64(),
    "BOOLEAN": pa.bool_(), "VARCHAR": pa.string(), "BIGINT[]": pa.list_(pa.int64()),
}  # fmt: skip
ODD_TYPES = [*TYPES.values(), pa.binary(), pa.date32(), pa.struct([("a", pa.int8())])]


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    for name in ("good", "strange"):
        write_demonstration_run(folder, name=name, steps=2, responses=4)
        write_evaluation(folder / name)
    return folder


def as_it_is(entry, part):
    """A line of the manifest that names the file as it lies there now."""
    if not part.path.match(str(entry.get("path"))):
        return entry
    return entry | {"bytes": part.path.stat().st_size, "checksum": file_checksum(part.path)}


@settings(max_examples=effort(40, 10), deadline=None)
@given(data=st.data(), table=st.sampled_from(TABLES), views=st.permutations(VIEWS))
def test_any_columns_in_a_file_are_survived(data, table, views, two_runs):
    """A file of another program under a name of ours: columns gone, new ones, other types."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(two_runs, folder, dirs_exist_ok=True)
        part = next(p for p in read_manifest(Path(folder) / "strange").parts if p.table == table)
        columns = column_types(table, 5)
        kept = data.draw(st.lists(st.sampled_from(sorted(columns)), unique=True))
        types = {name: TYPES[columns[name]] for name in kept}
        for name in data.draw(st.lists(st.sampled_from([*sorted(columns), "new", "it's; --", "run"]), max_size=3)):
            types[name] = data.draw(
                st.sampled_from([*TYPES.values(), pa.binary(), pa.date32(), pa.struct([("a", pa.int8())])])
            )
        strange = pa.table({name: pa.nulls(3, type_) for name, type_ in (types or {"new": pa.int32()}).items()})
        pq.write_table(strange, part.path)
        for manifest in (Path(folder) / "strange" / "manifest").glob("*.jsonl"):
            manifests.rewrite(manifest, lambda entry: as_it_is(entry, part))

        catalog, alone = Catalog(folder), Catalog(Path(folder) / "good")
        assert all("strange" in problem for problem in catalog.problems)
        for view in views[:4]:
            rows = f"SELECT count(*) FROM {view} WHERE run = 'good'"
            assert catalog.connection.execute(rows).fetchall() == alone.connection.execute(rows).fetchall()
            catalog.connection.execute(f"SELECT max(hash(COLUMNS(*))) FROM {view}").fetchall()
        mirror = Mirror(Path(folder))
        mirror.refresh()
        with mirror.snapshot() as cursor:
            rows = "SELECT step, k, lambda_k FROM lambda_k WHERE run = 'good' ORDER BY ALL"
            assert cursor.execute(rows).fetchall() == alone.connection.execute(rows).fetchall()


def test_words_where_numbers_belong_are_named(tmp_path):
    for name in ("good", "strange"):
        write_demonstration_run(tmp_path, name=name, steps=2, responses=4)
    part = next(p for p in read_manifest(tmp_path / "strange").parts if p.table == "tokens")
    pq.write_table(pa.table({"step": ["one", "two"], "logp_1": ["x", "y"]}), part.path)
    manifest = tmp_path / "strange" / "manifest" / "001-000.jsonl"
    manifests.rewrite(manifest, lambda entry: as_it_is(entry, part))
    catalog = Catalog(tmp_path)
    (problem,) = catalog.problems
    assert problem == f"{part.path}: step is VARCHAR, not INTEGER; its rows are left out"
    assert catalog.connection.execute("SELECT DISTINCT run FROM tokens").fetchall() == [("good",)]
