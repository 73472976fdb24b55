"""A run is said by its name in the folder of runs, or by a path; every command takes both."""

from __future__ import annotations

import shutil

import pytest
from effort import some
from simko.cli.simko import main
from simko.cli.terminal.run_addresses import RUN_FILE, find_run
from simko.store.errors import RunNotFound
from simko.store.layout import run as layout


@pytest.fixture
def here(home, tmp_path, monkeypatch):
    """A folder of one's own with the runs, to be in."""
    shutil.copytree(home / "runs", tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SIMKO_RUNS", raising=False)
    return tmp_path


COMMANDS = ["show {0}", "diff {0} {0}", "compact {0}", "gc {0}", "doctor {0}", "ls {0}", "query overview --runs {0}"]


@pytest.mark.parametrize("line", some(COMMANDS, 2))
def test_names_and_paths_say_the_same(line, here, capsys):
    firsts = []
    for address in ("grpo-short", "runs/grpo-short", str(here / "runs" / "grpo-short"), "./runs/grpo-short/"):
        assert main(line.format(address).split()) == 0
        firsts.append(capsys.readouterr().out.replace(f"{here}/", "").splitlines()[0])
    if line.startswith("compact"):  # which has merged the files when it is called again
        firsts = [first.partition(":")[0] for first in firsts]
    assert "grpo-short" in "".join(firsts) or line.startswith(("ls", "diff", "query"))
    assert set(firsts) == {firsts[0]}


@pytest.mark.parametrize("line", [*COMMANDS, "report {0}"])
def test_an_unknown_name_is_told_with_the_nearest_one(line, here, capsys):
    assert main(line.format("grpo-shrt").split()) == 2
    message = "no run named grpo-shrt in runs/; did you mean grpo-short? (`simko ls` lists them)\n"
    assert capsys.readouterr().err == f"simko {line.split()[0]}: {message}"


def test_the_folder_of_runs_is_an_option_then_the_environment_then_runs(here, capsys, monkeypatch):
    (here / "runs").rename(here / "other runs")
    assert main(["show", "grpo-short", "--runs", "other runs"]) == 0
    assert main(["ls", "--runs", "other runs"]) == 0
    assert main(["doctor", "--runs", "other runs"]) == 0
    monkeypatch.setenv("SIMKO_RUNS", "other runs")
    assert main(["show", "grpo-short"]) == main(["ls"]) == main(["doctor"]) == 0
    monkeypatch.delenv("SIMKO_RUNS")
    capsys.readouterr()
    assert main(["show", "grpo-short"]) == 2
    assert "there is no folder runs" in capsys.readouterr().err
    assert main(["show", "none", "--runs", "other runs"]) == 2
    assert "`simko ls --runs 'other runs'` lists them" in capsys.readouterr().err


def test_an_option_that_the_message_names_exists(here, capsys):
    (here / "empty").mkdir()
    for line in ("show none", "gc none", "compact none", "diff none none", "ls none", "doctor none", "report none"):
        assert main([*line.split(), "--runs", "empty"]) == 2
        err = capsys.readouterr().err
        assert "the folder of runs with --runs" in err and err.count("\n") == 1


def test_a_name_wins_over_a_folder_that_is_no_run_and_loses_against_a_run(here):
    (here / "grpo-short").mkdir()
    assert find_run("grpo-short", here / "runs") == here / "runs" / "grpo-short"
    shutil.copy(here / "runs" / "simko-short" / "run.json", here / "grpo-short")
    assert str(find_run("grpo-short", here / "runs")) == "grpo-short"


def test_neighbours_do_not_matter(here, capsys):
    runs = here / "runs"
    (runs / "broken").mkdir()
    (runs / "broken" / "run.json").write_text("{")
    (runs / "a file").touch()
    (runs / "link").symlink_to("nowhere")
    assert main(["show", "grpo-short"]) == 0
    assert capsys.readouterr().err == ""
    assert main(["diff", "grpo-short", "simko-short"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "", "\x1b[2J"])
def test_odd_names_are_a_line(name, here, capsys):
    assert main(["show", name]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "\x1b" not in err


def test_a_study_is_found_by_name(here):
    (here / "runs" / "study" / "one").mkdir(parents=True)
    assert find_run("study", here / "runs") == here / "runs" / "study"
    with pytest.raises(RunNotFound, match="no run named stdy"):
        find_run("stdy", here / "runs")


def test_the_name_of_the_file_that_marks_a_run_is_the_stores():
    assert RUN_FILE == layout.RUN_FILE
