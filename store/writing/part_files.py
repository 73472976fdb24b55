"""The finished files of one process: a Parquet file a table, then the lines that name them, all at once."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from ..layout.schema import TableName
from .cost import RecorderCost
from .manifest_writer import ManifestWriter
from .parquet import write_part


class PartFiles:
    """Writes waiting rows as parts of a run and counts what that costs.

    Args:
        run_dir: the run's folder.
        attempt, rank: whose files they are; both are in their names.
        manifest: where they are named.
        cost: where rows, bytes, files and time are counted.
    """

    def __init__(self, run_dir: Path, attempt: int, rank: int, manifest: ManifestWriter, cost: RecorderCost) -> None:
        self._run_dir, self._attempt, self._rank = run_dir, attempt, rank
        self._manifest, self._cost = manifest, cost
        self._part = 0

    def write(self, waiting: Mapping[TableName, list[pa.Table]]) -> None:
        """A file for each table, and their lines at once: no reader sees the rows of a step without its roll-up.

        Raises:
            OSError: they could not be written; none of them is left.
        """
        entries: list[dict[str, Any]] = []
        try:
            for table, pieces in waiting.items():
                if pieces and (data := pa.concat_tables(pieces)).num_rows:
                    entries.append(self._write_file(table, data))
            if entries:
                self._manifest.lines(entries)
        except BaseException:
            for entry in entries:
                (self._run_dir / entry["path"]).unlink(missing_ok=True)
            raise

    def _write_file(self, table: TableName, data: pa.Table) -> dict[str, Any]:
        """Write a file; returns its entry for the manifest."""
        began = time.perf_counter()
        self._part += 1
        relative = f"{table}/part-{self._attempt:03d}-{self._rank:03d}-{self._part:06d}.parquet"
        size, checksum = write_part(self._run_dir / relative, table, data)
        took = 1e3 * (time.perf_counter() - began)
        steps = data.column("step").to_numpy()
        self._cost.rows += data.num_rows
        self._cost.bytes += size
        self._cost.files += 1
        self._cost.write_ms += took
        return {
            "kind": "file",
            "table": table,
            "path": relative,
            "steps": [int(steps.min()), int(steps.max())],
            "rows": data.num_rows,
            "bytes": size,
            "checksum": checksum,
            "write_ms": round(took, 3),
        }
