"""Rows of a data set by name: a local `.parquet`, `.jsonl` or `.json` file, a folder of those, or a hub id.

A hub id may name a configuration, `owner/name:config`. Where a source has several splits, training takes `train` and
evaluation `test` (else `validation`). Rows come back as plain dictionaries, in the order of the source.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from ..errors import DatasetNotFound, DatasetUnreadable
from ..hub import hub_fault, is_hub_id

Purpose = Literal["train", "eval"]
Row = dict[str, Any]

_SPLITS: dict[Purpose, tuple[str, ...]] = {
    "train": ("train",),
    "eval": ("test", "validation", "valid", "dev"),
}
_LOCAL_ADVICE = "give a local .parquet or .jsonl file instead"


def read_rows(source: str, purpose: Purpose, limit: int | None = None) -> tuple[str, list[Row]]:
    """Read a data set.

    Args:
        source: path or hub id.
        purpose: decides the split where there are several.
        limit: at most that many rows, the first ones.

    Returns:
        (name for the rows' identities, rows).

    Raises:
        DatasetNotFound: nothing at the path, or the hub cannot be asked.
        DatasetUnreadable: corrupt, empty or of an unknown kind.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        name, rows = path.name, _read_folder(path, purpose)
    elif path.exists():
        name, rows = path.stem, _read_file(path)
    elif path.suffix in _READERS or not is_hub_id(source.partition(":")[0]):
        raise DatasetNotFound(f"no file {source}; give an existing .parquet, .jsonl or .json file, or a hub id")
    else:
        name, rows = _read_hub(source, purpose, limit)
    if not rows:
        raise DatasetUnreadable(f"the data set {source} has no rows")
    return name, rows[:limit]


def _read_parquet(path: Path) -> list[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows: list[Row] = pq.ParquetFile(path).read().to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise DatasetUnreadable(f"{path} cannot be read as Parquet ({_first_line(error)}); copy it again") from error
    return rows


def _read_jsonl(path: Path) -> list[Row]:
    rows = []
    for number, line in enumerate(_text(path).splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DatasetUnreadable(
                f"{path} line {number} is not valid JSON ({error.msg}); mend or remove it"
            ) from error
        if not isinstance(row, dict):
            raise DatasetUnreadable(f"{path} line {number} is not a JSON object; each line must be one row")
        rows.append(row)
    return rows


def _read_json(path: Path) -> list[Row]:
    try:
        content = json.loads(_text(path))
    except json.JSONDecodeError as error:
        raise DatasetUnreadable(
            f"{path} line {error.lineno} is not valid JSON ({error.msg}); a file with one row a line is named .jsonl"
        ) from error
    if isinstance(content, dict):  # {"examples": [...]} and the like: the one list of rows in it
        lists = [value for value in content.values() if isinstance(value, list)]
        content = lists[0] if len(lists) == 1 else None
    if not isinstance(content, list) or not all(isinstance(row, dict) for row in content):
        raise DatasetUnreadable(f"{path} is not a JSON list of objects; each element must be one row")
    return content


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DatasetUnreadable(f"{path} is not UTF-8 text (byte {error.start}); is it a compressed file?") from error
    except OSError as error:
        raise DatasetUnreadable(f"{path} cannot be read ({error.strerror})") from error


_READERS: dict[str, Callable[[Path], list[Row]]] = {
    ".parquet": _read_parquet,
    ".jsonl": _read_jsonl,
    ".json": _read_json,
}


def _read_file(path: Path) -> list[Row]:
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise DatasetUnreadable(f"{path} is of an unknown kind; known are {', '.join(_READERS)}")
    return reader(path)


def _read_folder(path: Path, purpose: Purpose) -> list[Row]:
    """A folder made by `Dataset.save_to_disk`, or all files of one kind, those named after the split if there are."""
    if (path / "state.json").is_file() or (path / "dataset_dict.json").is_file():
        return _read_saved(path, purpose)
    for suffix in _READERS:
        files = sorted(path.glob(f"*{suffix}"))
        named = [file for file in files if re.search(rf"(^|[^a-z])({'|'.join(_SPLITS[purpose])})([^a-z]|$)", file.stem)]
        if files:
            return [row for file in named or files for row in _read_file(file)]
    raise DatasetNotFound(f"no .parquet, .jsonl or .json file in the folder {path}")


def _read_saved(path: Path, purpose: Purpose) -> list[Row]:
    from datasets import DatasetDict, load_from_disk

    try:
        data = load_from_disk(str(path))
    except Exception as error:  # damaged folders surface as errors of every kind
        raise DatasetUnreadable(f"{path} cannot be read as a saved data set ({_first_line(error)})") from error
    if isinstance(data, DatasetDict):
        data = data[_choose_split(list(data), purpose, str(path))]
    return list(data)


def _read_hub(source: str, purpose: Purpose, limit: int | None) -> tuple[str, list[Row]]:
    repository, _, configuration = source.partition(":")
    fault = hub_fault()
    if fault is not None and not _cached(repository):
        raise DatasetNotFound(f"no file {source} here, and as a hub id it cannot be loaded: {fault}; {_LOCAL_ADVICE}")
    from datasets import load_dataset

    try:
        data = load_dataset(repository, configuration or None)
    except Exception as error:  # the hub, the network and the parsers fail in their own ways
        reason = _first_line(error)
        if "config name is missing" in str(error).lower():
            names = re.search(r"\[.*?\]", str(error).replace("\n", " "))
            reason = f"it has several configurations {names.group() if names else ''}: write {repository}:CONFIGURATION"
        raise DatasetNotFound(
            f"cannot load the data set {source} from the hub: {reason}; or {_LOCAL_ADVICE}"
        ) from error
    split = _choose_split(list(data), purpose, source)
    chosen = data[split]
    if limit is not None:
        chosen = chosen.select(range(min(limit, len(chosen))))
    return f"{repository}/{split}", list(chosen)


def _cached(repository: str) -> bool:
    from datasets.config import HF_DATASETS_CACHE

    return (Path(HF_DATASETS_CACHE) / repository.replace("/", "___")).is_dir()


def _choose_split(available: Sequence[str], purpose: Purpose, source: str) -> str:
    if len(available) == 1:
        return available[0]
    for split in _SPLITS[purpose]:
        if split in available:
            return split
    raise DatasetUnreadable(
        f"{source} has the splits {', '.join(available)}, none of them {' or '.join(_SPLITS[purpose])}; {_LOCAL_ADVICE}"
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0][:200] if lines else type(error).__name__).rstrip(".")
