"""What is not installed, or not there on this system, is said in one line."""

from __future__ import annotations

import pytest
from blocked import run_blocked
from simko.store.errors import ExtraMissing, SimkoError
from simko.store.extras import require


def test_what_is_installed_is_taken_without_being_loaded(tmp_path):
    code = "import sys; from simko.store.extras import require; require('torch', extra='probe')"
    code += "; print('torch' in sys.modules)"
    assert run_blocked(code, without=set(), cwd=tmp_path).stdout.strip() == "False"


@pytest.mark.parametrize("modules", [("no_such_library",), ("json", "no_such_library")])
def test_a_missing_extra_is_named_with_the_line_to_type(modules):
    with pytest.raises(ExtraMissing) as caught:
        require(*modules, extra="train", command="simko-train")
    assert str(caught.value) == "simko-train needs the train extra: pip install 'simko[train]'"
    assert isinstance(caught.value, SimkoError)


def test_where_the_command_is_printed_before_it_its_name_is_left_out():
    with pytest.raises(ExtraMissing, match=r"^needs the dashboard extra: pip install 'simko\[dashboard\]'$"):
        require("no_such_library", extra="dashboard")


def test_a_library_that_an_import_hook_refuses_is_missing(tmp_path):
    code = "from simko.store.extras import require; require('trl', extra='train')"
    done = run_blocked(code, without={"trl"}, cwd=tmp_path)
    assert "ExtraMissing" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("module", ["store.writing.recorder", "store.reading.sandbox"])
def test_where_there_are_no_locks_the_system_is_named(module, tmp_path):
    """As on Windows, whose Python has neither of the two modules."""
    done = run_blocked(f"import simko.{module}", without={"fcntl", "resource"}, cwd=tmp_path)
    assert "PlatformUnsupported: this part of simko needs a POSIX system" in done.stderr.splitlines()[-1]


def test_reading_needs_neither_locks_nor_limits(tmp_path):
    code = "import simko.store.reading.catalog, simko.store.maintenance.doctor"
    assert run_blocked(code, without={"fcntl", "resource"}, cwd=tmp_path).returncode == 0
