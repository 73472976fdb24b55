"""Rows that the mirror has read and nobody has asked for: they go into their tables when a query needs these.

To insert a few rows costs what to read them does, however few they are, and a page asks for one or two tables. So a
refresh leaves its rows here, and those of many refreshes go in together.

Invariant: a query sees each of its tables as the last refresh left it, because `tables_of` is DuckDB's own answer to
what a query rests on, views looked through, and where it has none every table is brought up to date.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import duckdb
import pyarrow as pa

_MOST_PARTS, _MOST_ROWS = 100, 20_000
"""Of one table, before they go in unasked."""
_SLICE = 100_000
"""Rows of one INSERT: DuckDB 2.0 loses those of a larger one into a table made in the same transaction."""
_MOST_QUERIES = 1000
_PARAMETER = re.compile(r"\$\d+|\?")


class WaitingRows:
    """What waits, by table.

    Args:
        connection: the mirror's; for `insert` and `put` a transaction is open.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._con = connection
        self._added: dict[str, list[pa.Table]] = {}
        self._emptied: set[str] = set()
        """Tables whose rows in DuckDB are out of date."""
        self._asked: dict[str, frozenset[str] | None] = {}

    def clear(self) -> None:
        """Forget everything: the tables are made anew."""
        self._added.clear()
        self._emptied.clear()
        self._asked.clear()

    def add(self, table: str, rows: pa.Table) -> None:
        """Append rows to a table, by the names of their columns."""
        waiting = self._added.setdefault(table, [])
        waiting.append(rows)
        if len(waiting) > _MOST_PARTS or sum(one.num_rows for one in waiting) > _MOST_ROWS:
            self.put([table])

    def replace(self, table: str, rows: pa.Table) -> None:
        """Put rows in the place of all that a table has."""
        self._emptied.add(table)
        self._added[table] = [rows]

    def tables_of(self, sql: str | None) -> list[str]:
        """The tables that wait and that a query rests on; all that wait where that cannot be told."""
        waiting = [*self._added]
        if not waiting or sql is None or "read_parquet" in sql:  # files would be opened twice
            return waiting
        if sql not in self._asked:
            if len(self._asked) >= _MOST_QUERIES:
                self._asked.clear()
            self._asked[sql] = self._under(sql)
        tables = self._asked[sql]
        return waiting if tables is None else [table for table in waiting if table in tables]

    def _under(self, sql: str) -> frozenset[str] | None:
        try:
            names = self._con.get_table_names(_PARAMETER.sub("NULL", sql))
        except duckdb.Error:
            return None
        known = {name for (name,) in self._con.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
        # Where DuckDB cannot look through a view it gives the view's name
        return frozenset(names) if names and names <= known else None

    def put(self, tables: Iterable[str] | None = None) -> None:
        """Insert what waits for some tables, or for all."""
        for table in [*self._added] if tables is None else tables:
            if table in self._emptied:
                self._con.execute(f"DELETE FROM {table}")
                self._emptied.discard(table)
            if waiting := self._added.pop(table, []):
                rows = waiting[0] if len(waiting) == 1 else pa.concat_tables(waiting, promote_options="default")
                self.insert(table, rows)

    def insert(self, table: str, rows: pa.Table) -> None:
        """Append rows now."""
        for start in range(0, rows.num_rows, _SLICE):
            # DuckDB finds the variable by its name: to register a view would cost as much as the INSERT.
            arrow_table = rows.slice(start, _SLICE)  # noqa: F841
            self._con.execute(f"INSERT INTO {table} BY NAME SELECT * FROM arrow_table")
