"""`docs/structure.md` names files that exist and folders as `test_architecture` has them; links in the docs lead on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from test_architecture import FOLDERS

ROOT = Path(__file__).parents[1]
STRUCTURE = (ROOT / "docs/structure.md").read_text(encoding="utf-8")
PATHS = sorted(set(re.findall(r"`((?:[\w-]+/)+[\w-]+\.(?:py|sql|yaml))`", STRUCTURE)))
PAGES = [
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "examples/README.md",
]


def test_there_are_files_to_check():
    assert len(PATHS) > 40


@pytest.mark.parametrize("path", PATHS)
def test_a_file_it_names_exists(path):
    assert (ROOT / path).is_file()


@pytest.mark.parametrize(("path", "name"), re.findall(r"\*\*`([\w/]+\.py)`\*\* `(?:\w+\.)*(\w+)`", STRUCTURE))
def test_a_function_it_names_is_there(path, name):
    assert re.search(rf"^\s*(def|class) {name}\b", (ROOT / path).read_text(encoding="utf-8"), re.M)


def test_the_table_of_folders_is_the_rule_that_is_tested():
    rows = re.findall(r"^\| `([\w/]+)` \| (.+?\?) \| ?(.*?) ?\|$", STRUCTURE, re.M)
    assert {folder: set(re.findall(r"`([\w/]+)`", known)) for folder, _, known in rows} == FOLDERS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_to_files(page):
    for target in re.findall(r"\]\((?!https?:)([^)#\s]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target
