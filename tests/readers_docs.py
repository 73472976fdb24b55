"""The snippets of docs/readers.md, run as they stand there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from simko.cli.simko import main
from simko.store import Catalog

PAGE = (Path(__file__).parents[1] / "docs/readers.md").read_text(encoding="utf-8")


def snippet(engine: str) -> str:
    """The code under an engine's heading."""
    return re.search(rf"^## {engine}\n.*?```python\n(.*?)```", PAGE, re.S | re.M)[1]


def results(engine: str, run: Path, folder: Path, capsys: Any) -> dict[str, Any]:
    """The names that a snippet leaves, beside the files that its first lines read."""
    for name, form in (("files.json", "json"), ("rollups.sql", "sql")):
        assert main(["files", str(run), "--table", "rollups", "--format", form]) == 0
        (folder / name).write_text(capsys.readouterr().out)
    names: dict[str, Any] = {}
    exec(snippet(engine), names)
    return names


def expected(run: Path) -> tuple[list[tuple[Any, ...]], int]:
    """Λ(1) by step and verdict as the view has it, and how many rows of `rollups` count."""
    catalog = Catalog(run)
    assert catalog.problems == []
    sql = "SELECT step, verdict, lambda_k FROM lambda_k WHERE k = 1 AND verdict <> 'all' ORDER BY ALL"
    ask = catalog.connection.execute
    return ask(sql).fetchall(), ask("SELECT count(*) FROM rollups").fetchall()[0][0]


def assert_same(lambda_1: list[tuple[Any, ...]], run: Path) -> None:
    """Of two processes a sum has two terms, so it is the same to the last bit in whichever order."""
    assert sorted(map(tuple, lambda_1)) == expected(run)[0]
