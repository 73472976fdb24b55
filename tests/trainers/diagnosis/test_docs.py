"""`docs/diagnose.md`: its commands are ones that there are, its queries run on four scored runs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from simko.cli.simko import COMMANDS
from simko.store import Catalog
from simko.store.analysis.diagnosis_folder import CELLS, cell
from simko.store.demo.small_run import write_demonstration_run

PAGE = (Path(__file__).parents[3] / "docs" / "diagnose.md").read_text()
LINES = [
    shlex.split(line, comments=True)
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.S)
    for line in block.splitlines()
]


@pytest.mark.parametrize("line", LINES, ids=" ".join)
def test_its_commands_are_ones_that_there_are(line):
    assert line[0] == "simko" and line[1] in ("score", "diagnose")
    options = COMMANDS[line[1]].parser().parse_args(line[2:])
    assert vars(options)


def test_its_queries_answer(tmp_path):
    for place in CELLS:
        write_demonstration_run(tmp_path, name=cell(*place), steps=2, responses=8)
    connection = Catalog(tmp_path).connection
    queries = re.findall(r"```sql\n(.*?)```", PAGE, re.S)
    assert len(queries) == 2
    for query in queries:
        connection.execute(query).fetchall()
