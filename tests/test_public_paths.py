"""Names that the documentation has shown can be imported from where it showed them, wherever the code is now."""

from __future__ import annotations

import importlib
import runpy
import sys

import pytest

PUBLIC = {
    "simko": ("__version__",),
    "simko.probes": [
        "HeadMismatch",
        "NullProbe",
        "Probe",
        "ProbeCannotSee",
        "RankedHead",
        "RankedOutput",
        "RowStats",
        "Scope",
        "TokenCredit",
        "LogitGradient",
        "TokenStats",
        "TooManyCandidates",
        "add_ranked_head",
        "forking_mask",
        "ranked_statistics",
    ],
    "simko.store": ("SCHEMA_VERSION", "Catalog", "LiveFile", "Recorder", "SimkoError", "TokenBatch", "files", "open"),
    "simko.store.logged_rows": ("LoggedRows",),
    "simko.store.named_queries": ("named_queries", "named_query"),
    "simko.store.study": ("is_study", "open_study"),
    "simko.store.study.outcomes": ("Outcomes",),
    "simko.store.study.tables": ("findings",),
    "simko.trainers.engine": ("RankedGRPOTrainer",),
    "simko.trainers.objectives": [
        "PKPO",
        "ClipCov",
        "EntropyAdvantage",
        "ForkingTokens",
        "KLCov",
        "Objective",
        "PassAtKTraining",
        "Reinforce",
        "ScoredBatch",
        "SimKO",
        "Surrogate",
        "nsr",
        "psr",
        "w_reinforce",
    ],
    "simko.trainers.base_policy": ("BASE_POLICIES", "COUNTDOWN_BASE"),
    "simko.cli.train": ("main",),
    "simko.cli.simko": ("main",),
}


@pytest.mark.parametrize("module", PUBLIC)
def test_documented_names_are_where_they_were(module):
    loaded = importlib.import_module(module)
    assert all(hasattr(loaded, name) for name in PUBLIC[module])


def test_the_documented_command_of_the_base_policies_is_there(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["build", "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("simko.trainers.base_policy.build", run_name="__main__")
    assert ended.value.code == 0 and "--right_share" in capsys.readouterr().out
