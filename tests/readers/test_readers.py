"""Daft and PySpark read by `simko files` what the views say: `make test-readers`, in an environment of their own."""

from __future__ import annotations

import os
import shutil

import pytest
from readers_docs import assert_same, expected, results
from resumed_run import STATES, write_resumed


@pytest.fixture(scope="module", autouse=True)
def small_machine():
    """Little of it for Spark; and no address but this machine's own."""
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    os.environ.setdefault("PYSPARK_SUBMIT_ARGS", "--driver-memory 1g --conf spark.ui.enabled=false pyspark-shell")


@pytest.fixture(scope="module", params=STATES)
def state(request, tmp_path_factory):
    run = tmp_path_factory.mktemp("state") / "run"
    write_resumed(run)
    STATES[request.param](run)
    return run


def rows_of(engine, frame):
    if engine == "Daft":
        return [tuple(row.values()) for row in frame.to_pylist()]
    return [tuple(row) for row in frame.collect()]


@pytest.mark.parametrize("engine", ["Daft", "PySpark"])
def test_the_snippets_give_lambda_as_the_view_does(engine, state, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = results(engine, state, tmp_path, capsys)
    assert_same(rows_of(engine, names["lambda_1"]), state)
    rows = names["rows"]
    assert (rows.count_rows() if engine == "Daft" else rows.count()) == expected(state)[1]


@pytest.mark.parametrize("engine", ["Daft", "PySpark"])
def test_a_glob_is_silently_wrong(engine, tmp_path):
    """It is what the page warns of."""
    write_resumed(tmp_path / "run")
    paths = f"{tmp_path}/run/rollups/*.parquet"
    if engine == "Daft":
        import daft

        n = daft.read_parquet(paths).count_rows()
    else:
        from pyspark.sql import SparkSession

        n = SparkSession.builder.master("local[1]").getOrCreate().read.parquet(paths).count()
    assert n > expected(tmp_path / "run")[1]


def test_java_is_there():
    """PySpark needs it, and nothing is skipped here."""
    assert shutil.which("java") or os.environ.get("JAVA_HOME")
