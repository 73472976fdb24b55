"""`simko query`: SQL over the logs of a run or a folder of runs, typed or by name.

    simko query "SELECT step, k, lambda_k FROM lambda_k WHERE verdict = 'all'" --runs runs/ --format csv
    simko query top-forking-tokens --set limit=50        a query that comes with simko; --list lists them
    simko query lambda-by-verdict --watch 5              asked again every five seconds

The views are those of `docs/schema.md`. The answer goes to stdout (or `--output`), warnings about unreadable files to
stderr; a mistake is one line on stderr and exit code 2.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..store.errors import UsageError
from .terminal.parser import Parser
from .terminal.run_addresses import default_runs, find_run

FORMATS = ("table", "csv", "json", "parquet", "arrow")
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)+|[a-z]+")


def parser() -> Parser:
    """The command's options."""
    parser = Parser(prog="simko query", description="Ask the logs of one run or a folder of runs.")
    about = "a query's name (--list), one SELECT over the views (lambda_k, pass_at_k, tokens, …: docs/schema.md), "
    parser.add_argument("sql", nargs="?", help=about + "a .sql file, or - for standard input")
    parser.add_argument(
        "--runs",
        action="append",
        metavar="FOLDER",
        help="a run or a folder of runs; may be repeated (default: $SIMKO_RUNS, else runs)",
    )
    parser.add_argument("--list", action="store_true", help="the queries that come with simko, a line each")
    parser.add_argument("--show", action="store_true", help="print the query's SQL instead of asking it")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a parameter of the query, $NAME in its SQL"
    )
    parser.add_argument("--format", choices=FORMATS, default="table", help="how the answer is written (default: table)")
    parser.add_argument("--all", action="store_true", help="every column of a table, however wide")
    parser.add_argument("--output", metavar="FILE", help="write to a file instead of stdout")
    parser.add_argument(
        "--watch", type=float, metavar="SECONDS", help="ask again and again; a pipe gets each answer that differs"
    )
    return parser


def run(options: argparse.Namespace) -> int:
    """Run the command; returns the exit code.

    Raises:
        UsageError, QueryFailed: an option or the SQL is wrong.
        RunNotFound: a folder does not exist.
    """
    from ..store.reading.named_queries import named_queries

    if options.list:
        width = max(len(name) for name in named_queries())
        print("\n".join(f"{name:<{width}}  {query.description}" for name, query in named_queries().items()))
        return 0
    if options.sql is None:
        raise UsageError("give a query: its name, or one SELECT; `simko query --list` lists the names")
    output = _output(options.output)
    _check_watch(options.watch, options.format, output)
    sql, parameters = _question(options.sql, options.set)
    if options.show:
        print(sql.rstrip())
        return 0

    from .asking import ask, watch
    from .terminal.answers import BINARY, write

    if options.format in BINARY and output is None and sys.stdout.isatty():
        raise UsageError(f"{options.format} is not for a terminal; add --output FILE or pipe it on")
    runs = default_runs()
    folders = [find_run(folder, runs) for folder in options.runs or ()] or [runs]
    if options.watch is not None:
        watch(folders, sql, parameters, options.format, options.watch)
    ask(
        folders,
        sql,
        parameters,
        lambda answer: write(answer, options.format, output, everything=options.all),
        again=output is not None,
    )
    return 0


def _output(text: str | None) -> Path | None:
    """The file that `--output` names."""
    if text is None:
        return None
    path = Path(text)
    if not text or not path.name or path.is_dir():
        raise UsageError(f"--output {text!r} is no file; give the path of the file to write")
    return path


def _check_watch(seconds: float | None, form: str, output: Path | None) -> None:
    if seconds is None:
        return
    if not 0 < seconds < math.inf:
        raise UsageError(f"--watch {seconds:g}: give seconds above 0")
    if form not in ("table", "csv", "json") or output is not None:
        raise UsageError("--watch shows a table, csv or json on stdout; leave out --output or choose another --format")


def _question(text: str, settings: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """The SQL meant, and its parameters."""
    given: dict[str, str] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise UsageError(f"--set {setting}: write NAME=VALUE")
        given[name] = value
    if _NAME.fullmatch(text):
        from ..store.reading.named_queries import named_query

        query = named_query(text)
        return query.sql, dict(query.parameters(given))
    if text == "-":
        text = sys.stdin.read()
    elif text.endswith(".sql") and not re.search(r"\s", text):
        try:
            text = Path(text).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"cannot read {text}: {getattr(error, 'strerror', None) or error}") from error
    return text, {name: _value(value) for name, value in given.items()}


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
