"""Questions that come with simko: each a file `queries/<name>.sql` on the catalog's views.

    simko query --list
    simko query top-forking-tokens --runs runs/first --set limit=50

A file's first line is `-- ` and its description; further comment lines tell units and what it reads; a line
`-- $name = value: meaning` declares a parameter and its default, which the SQL uses as `$name`.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from ..errors import QueryFailed

PARAMETER = re.compile(r"^-- \$(\w+) = (\S+): (.+)$", re.M)
"""A parameter that a query declares: its name, default and meaning."""


@dataclass(frozen=True)
class NamedQuery:
    """One shipped query.

    Attributes:
        name: as it is called, `top-forking-tokens`.
        description: one line.
        sql: the whole file.
        defaults: parameter → its value when none is given.
    """

    name: str
    description: str
    sql: str
    defaults: Mapping[str, float]

    def parameters(self, given: Mapping[str, str]) -> dict[str, float]:
        """Every parameter's value: as given, else its default.

        Raises:
            QueryFailed: a name is none of this query's, or a value is no number.
        """
        result = dict(self.defaults)
        for name, text in given.items():
            if name not in result:
                known = ", ".join(result) or "none"
                raise QueryFailed(f"{self.name} has no parameter {name}; it has: {known}")
            try:
                result[name] = _number(text)
            except ValueError as error:
                raise QueryFailed(f"--set {name}={text}: give a number") from error
        return result


@cache
def named_queries() -> Mapping[str, NamedQuery]:
    """The shipped queries by name, in alphabetical order."""
    result = {}
    for file in sorted((files(__package__) / "queries").iterdir(), key=lambda file: file.name):
        if file.name.endswith(".sql"):
            sql = file.read_text(encoding="utf-8")
            name = file.name.removesuffix(".sql")
            description = sql.splitlines()[0].removeprefix("-- ")
            result[name] = NamedQuery(name, description, sql, MappingProxyType(defaults_of(sql)))
    return MappingProxyType(result)


def named_query(name: str) -> NamedQuery:
    """A shipped query by its name.

    Raises:
        QueryFailed: there is none of that name; the nearest names are told.
    """
    known = named_queries()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        hint = f"did you mean {', '.join(near)}?" if near else "`simko query --list` lists them"
        raise QueryFailed(f"there is no query {name}; {hint}")
    return known[name]


def defaults_of(sql: str) -> dict[str, float]:
    """The parameters that a query declares in its comments, and their values."""
    return {parameter: _number(value) for parameter, value, _ in PARAMETER.findall(sql)}


def _number(text: str) -> float:
    value = json.loads(text)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(text)
    return value
