"""Who may import whom, read off the imports; and what the commands may load before they need it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("store", "probes", "trainers", "dashboard", "cli")
MAY_KNOW = {
    "store": {"store"},
    "probes": {"probes", "store"},
    "trainers": {"trainers", "probes", "store"},
    "dashboard": {"dashboard", "store"},
    "cli": set(ROOMS),
}
FOREIGN = {
    "store": {"torch", "transformers", "trl", "accelerate", "streamlit", "plotly"},
    "probes": {"trl", "streamlit", "plotly"},
    "trainers": {"streamlit", "plotly"},
    "dashboard": {"torch", "transformers", "trl", "accelerate"},
    "cli": {"trl"},
}
MODULES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Absolute names of everything a module imports, relative imports resolved from the project's root."""
    found = set()
    package = list(path.relative_to(ROOT).parent.parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.removeprefix("simko.") for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            name = ".".join([*base, node.module] if node.module else base).removeprefix("simko.")
            found |= {name, *(f"{name}.{alias.name}" for alias in node.names)}
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_rooms_know_only_whom_they_may(path):
    room = path.relative_to(ROOT).parts[0]
    tops = {name.split(".")[0] for name in imports(path)}
    assert tops & set(ROOMS) <= MAY_KNOW[room]
    assert not tops & FOREIGN[room]


def test_objectives_import_torch_alone():
    for path in (ROOT / "trainers" / "objectives").glob("*.py"):
        tops = {name.split(".")[0] for name in imports(path)} - {"__future__", "dataclasses", "math", "typing", "torch"}
        names = {n for n in imports(path) if n.split(".")[0] in tops}
        assert all(n.startswith(("trainers.objectives", "probes.forking")) for n in names), (path, names)


def test_modules_are_small():
    long = {str(p.relative_to(ROOT)): n for p in MODULES if (n := len(p.read_text().splitlines())) > 355}
    assert not long


@pytest.mark.parametrize(
    ("statement", "forbidden"),
    [
        ("import simko.store", {"torch", "transformers", "streamlit"}),
        ("import simko.dashboard.charts", {"torch", "transformers", "trl"}),
        ("import simko.cli.train; simko.cli.train.main(['--help'])", {"torch", "transformers", "trl", "duckdb"}),
        ("import simko.cli.study as s; s.study_main(['--list'])", {"torch", "transformers", "trl", "duckdb"}),
        ("import simko.probes.probe", {"trl", "vllm", "gguf", "duckdb"}),
        ("import simko.trainers.train", {"vllm", "gguf", "math_verify", "playwright", "streamlit"}),
    ],
)
def test_heavy_and_optional_libraries_load_only_where_needed(statement, forbidden, tmp_path):
    code = f"import sys; {statement}; print(sorted(set(sys.modules) & {forbidden!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


EXECUTING = {"eval", "exec", "torch.load", "yaml.unsafe_load", "yaml.full_load", "np.load", "pd.read_pickle"}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_nothing_that_is_read_is_executed(path):
    """Runs, checkpoints and settings come from other people: no pickle, no code out of files."""
    tree = ast.parse(path.read_text())
    assert not {name.split(".")[0] for name in imports(path)} & {"pickle", "dill", "cloudpickle", "marshal", "shelve"}
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name = ast.unparse(call.func)
        assert name not in {
            "eval",
            "exec",
            "torch.load",
            "yaml.unsafe_load",
            "yaml.full_load",
            "np.load",
            "pd.read_pickle",
        }, name
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        assert given.get("allow_pickle", "False") == given.get("weights_only", "False") == "False"
        assert given.get("trust_remote_code", "False") != "True"
