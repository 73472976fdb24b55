"""Who may import whom, read off the imports; and what the commands may load before they need it."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
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
FOLDERS = {
    "store/layout": set(),
    "store/writing": {"store/layout"},
    "store/remote": {"store/layout"},
    "store/reading": {"store/layout", "store/writing", "store/remote"},
    "store/maintenance": {"store/layout", "store/writing", "store/reading"},
    "store/analysis": {"store/layout", "store/reading"},
    "store/demo": {"store/layout", "store/writing"},
    "probes/statistics": set(),
    "probes/head": {"probes/statistics"},
    "probes/recording": {"probes/statistics", "probes/head"},
    "trainers/objectives": set(),
    "trainers/models": {"trainers/tasks"},
    "trainers/tasks": set(),
    "trainers/evaluation": {"trainers/tasks", "trainers/models"},
    "trainers/diagnosis": {"trainers/evaluation", "trainers/models", "trainers/tasks"},
    "trainers/options": {"trainers/engine", "trainers/objectives"},
    "trainers/engine": {"trainers/objectives", "trainers/tasks", "trainers/evaluation"},
    "trainers/verl": {"trainers/objectives", "trainers/options", "trainers/engine"},
    "trainers/planning": {"trainers/options", "trainers/models", "trainers/tasks", "trainers/evaluation"},
    "trainers/study": {"trainers/options", "trainers/engine", "trainers/models", "trainers/tasks"},
    "cli/terminal": set(),
    "dashboard/live_tables": set(),
    "dashboard/components": set(),
    "dashboard/pages": {"dashboard/components"},
    "dashboard/report": {"dashboard/components"},
}
"""Folder → the other folders of its own room that it may know. Modules right under a room (doors, errors) are free."""
NEVER = {
    "store/analysis": {"store.writing"},
    "probes/statistics": {"store"},
    "probes/head": {"store"},
    "trainers/objectives": {"store"},
}
"""Folder → what it may not know of other rooms: analysis never writes, statistics know no recorder."""
FOREIGN = {
    "store": {"torch", "transformers", "trl", "accelerate", "streamlit", "plotly"},
    "probes": {"trl", "streamlit", "plotly"},
    "trainers": {"streamlit", "plotly"},
    "dashboard": {"torch", "transformers", "trl", "accelerate"},
    "cli": {"trl"},
}
MODULES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))


@cache
def parsed(path: Path) -> ast.Module:
    """A module's syntax tree."""
    return ast.parse(path.read_text())


def imports(path: Path) -> set[str]:
    """Absolute names of everything a module imports, relative imports resolved from the project's root."""
    result = set()
    package = list(path.relative_to(ROOT).parent.parts)
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            result |= {alias.name.removeprefix("simko.") for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            name = ".".join([*base, node.module] if node.module else base).removeprefix("simko.")
            result |= {name, *(f"{name}.{alias.name}" for alias in node.names)}
    return result


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_know_only_whom_they_may(room):
    for path in (ROOT / room).rglob("*.py"):
        tops = {name.split(".")[0] for name in imports(path)}
        assert tops & set(ROOMS) <= MAY_KNOW[room], path
        assert not tops & FOREIGN[room], path


@pytest.mark.parametrize("package", ["verl", "hydra", "omegaconf"])
def test_only_the_plugin_imports_verl(package):
    """Absolute imports alone: `trainers/verl` is a folder of ours."""
    knowing = set()
    for path in MODULES:
        for node in ast.walk(parsed(path)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) and not node.level else []
            knowing |= {str(path.relative_to(ROOT).parent) for name in names if name.split(".")[0] == package}
    assert knowing == {"trainers/verl"}


def folder_of(name: str) -> str | None:
    """The folder (`room/folder`) a dotted name lies in, if it lies in one."""
    parts = name.split(".")
    folder = "/".join(parts[:2])
    return folder if len(parts) > 1 and (ROOT / folder).is_dir() and folder in FOLDERS else None


@pytest.mark.parametrize("folder", FOLDERS)
def test_folders_know_only_whom_they_may(folder):
    room = folder.split("/")[0]
    for path in (ROOT / folder).rglob("*.py"):
        names = imports(path)
        known = {other for name in names if (other := folder_of(name)) and other.startswith(f"{room}/")}
        assert known - {folder} <= FOLDERS[folder], path
        forbidden = NEVER.get(folder, set())
        wrong = {name for name in names for part in forbidden if name == part or name.startswith(f"{part}.")}
        assert not {name for name in wrong if not name.startswith("store.errors")}, path


def test_every_folder_has_its_rule():
    """But for the public names of what has moved, and what is data alone."""
    folders = {str(path.parent.relative_to(ROOT)) for path in MODULES if path.parent.parent != ROOT}
    tops = {"/".join(folder.split("/")[:2]) for folder in folders}
    assert tops - set(FOLDERS) == {"store/study", "trainers/base_policy"}


def test_a_folder_explains_itself():
    for folder in FOLDERS:
        assert ast.get_docstring(ast.parse((ROOT / folder / "__init__.py").read_text())), folder


def test_objectives_import_torch_alone():
    for path in (ROOT / "trainers" / "objectives").glob("*.py"):
        tops = {name.split(".")[0] for name in imports(path)} - {"__future__", "dataclasses", "math", "typing", "torch"}
        names = {n for n in imports(path) if n.split(".")[0] in tops}
        assert all(n.startswith(("trainers.objectives", "probes.forking")) for n in names), (path, names)


LONGEST = 300


def test_modules_are_small():
    long = {str(p.relative_to(ROOT)): n for p in MODULES if (n := len(p.read_text().splitlines())) > LONGEST}
    assert not long


LOADS = {
    "the core": [
        ("import simko.store", {"torch", "transformers", "streamlit"}),
        ("import simko.dashboard.components.charts", {"torch", "transformers", "trl"}),
    ],
    "commands": [
        ("import simko.cli.train; simko.cli.train.main(['--help'])", {"torch", "transformers", "trl", "duckdb"}),
        ("import simko.cli.simko as s; s.main(['study', '--list'])", {"torch", "transformers", "trl", "duckdb"}),
        ("import simko.probes.probe", {"trl", "vllm", "gguf", "duckdb"}),
        ("import simko.trainers.train", {"vllm", "gguf", "math_verify", "playwright", "streamlit"}),
    ],
}
"""Statements that one process runs after another, each with what may not be loaded by then."""


@pytest.mark.parametrize("statements", LOADS.values(), ids=LOADS)
def test_heavy_and_optional_libraries_load_only_where_needed(statements, tmp_path):
    code = "import sys\n" + "".join(
        f"{statement}\nassert not set(sys.modules) & {forbidden!r}, {statement!r}\n"
        for statement, forbidden in statements
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]


EXECUTING = {"eval", "exec", "torch.load", "yaml.unsafe_load", "yaml.full_load", "np.load", "pd.read_pickle"}


SAFE = {"allow_pickle": "False", "weights_only": "True", "trust_remote_code": "False"}
PICKLES = {"pickle", "dill", "cloudpickle", "marshal", "shelve"}


@pytest.mark.parametrize("room", ROOMS)
def test_nothing_that_is_read_is_executed(room):
    """Runs, checkpoints and settings come from other people: no pickle, no code out of files."""
    for path in (ROOT / room).rglob("*.py"):
        assert not {name.split(".")[0] for name in imports(path)} & PICKLES, path
        for call in (node for node in ast.walk(parsed(path)) if isinstance(node, ast.Call)):
            assert ast.unparse(call.func) not in EXECUTING, path
            for keyword in call.keywords:
                if keyword.arg in SAFE:
                    assert ast.unparse(keyword.value) == SAFE[keyword.arg], (path, keyword.arg)
