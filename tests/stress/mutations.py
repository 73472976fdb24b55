"""Damages files of a run one by one and reads the run in every way: `mutations.py FOLDER SEED CASES`.

FOLDER holds a whole run, `run`; it is copied for every case. Anything that is raised, takes long or brings the process
down fails; the last line on stdout is a JSON object of counts.
"""

from __future__ import annotations

import faulthandler
import json
import random
import shutil
import sys
from collections import Counter
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
from simko.dashboard.mirror import Mirror
from simko.store.layout.manifest import read_manifest
from simko.store.maintenance.doctor import check
from simko.store.reading.catalog import Catalog
from simko.store.reading.views import VIEWS

SECONDS = 60
"""A case that takes longer is taken for one that never ends."""
NUMBERS = (-1, 0, 1, 2**31, 2**63, 10**30, 0.5, 1e308, float("nan"), float("inf"))
WORDS = ("", "..", "../../../etc/passwd", "/etc/passwd", "tokens", "\x00", "\x1b[2J", "'; DROP VIEW runs --", "∞" * 300)


def damaged(data: bytes, chance: random.Random) -> bytes:
    """Bytes flipped, zeroed, made up, cut off, put in, taken out or repeated."""
    content, first = bytearray(data), chance.randrange(len(data))
    last = min(len(data), first + chance.choice((1, 4, 64, 1024)))
    match chance.randrange(7):
        case 0:
            for _ in range(chance.randint(1, 8)):
                content[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        case 1:
            content[first:last] = bytes(last - first)
        case 2:
            content[first:last] = chance.randbytes(last - first)
        case 3:
            del content[first:]
        case 4:
            content[first:first] = chance.randbytes(last - first)
        case 5:
            del content[first:last]
        case 6:
            content[first:first] = content[first:last]
    return bytes(content)


def nonsense(chance: random.Random, depth: int = 0) -> object:
    """Any JSON value."""
    kind = chance.randrange(6 if depth < 3 else 4)
    if kind < 4:
        return (chance.choice(NUMBERS), chance.choice(WORDS), None, chance.random() < 0.5)[kind]
    values = [nonsense(chance, depth + 1) for _ in range(chance.randrange(4))]
    return values if kind == 4 else dict(zip(("k", "path", "steps", "rows"), values, strict=False))


def misunderstood(data: bytes, chance: random.Random) -> bytes:
    """Lines of JSON, one entry of one of them another value, gone, or a line twice or gone."""
    lines = data.splitlines()
    place = chance.randrange(len(lines))
    try:
        entry = json.loads(lines[place])
    except ValueError:  # a page of JSON
        lines, place, entry = [b""], 0, json.loads(data)
    within = entry
    while isinstance(value := within[name := chance.choice(list(within))], dict) and value and chance.random() < 0.7:
        within = value
    match chance.randrange(4):
        case 0 | 1:
            within[name] = nonsense(chance)
        case 2:
            del within[name]
        case 3 if len(lines) > 1:
            lines.insert(chance.randrange(len(lines)), lines[place])
    lines[place] = json.dumps(entry).encode()
    return b"\n".join(lines) + b"\n"


def strike(file: Path, chance: random.Random) -> bool:
    """Damage a file; whether it is Parquet of which only pages were hit, at the size it had."""
    before = file.read_bytes()
    if file.suffix != ".parquet":
        file.write_bytes((damaged if chance.random() < 0.5 else misunderstood)(before, chance))
        return False
    after = damaged(before, chance)
    if chance.random() < 0.8:  # what the manifest cannot tell: as long as before, and ending alike
        after = after[: len(before) - 4].ljust(len(before) - 4, b"\0") + before[-4:]
    file.write_bytes(after)
    footer = len(before) - 8 - int.from_bytes(before[-8:-4], "little")
    return after != before and after[footer:] == before[footer:]


def read(folder: Path, struck: Path, chance: random.Random) -> str:
    """Read the run in several ways, some of them by chance; what was seen of the damage."""
    catalog = Catalog(folder)
    views = chance.sample(VIEWS, 3)
    try:
        for view in views:
            catalog.connection.execute(f"SELECT max(hash(COLUMNS(*))) FROM {view}").fetchall()
        seen = "named on opening" if catalog.problems else "nothing to see"
    except duckdb.Error:
        catalog.leave_out_damaged()
        assert any(struck.name in problem for problem in catalog.problems), catalog.problems
        for view in views:
            catalog.connection.execute(f"SELECT max(hash(COLUMNS(*))) FROM {view}").fetchall()
        seen = "named by a query"
    if chance.random() < 0.4:
        mirror = Mirror(folder)
        mirror.refresh()
        mirror.refresh()
        with mirror.snapshot() as cursor:
            for view in ("runs", "lambda_k"):
                cursor.execute(f"SELECT max(hash(COLUMNS(*))) FROM {view}").fetchall()
    return seen


def examined(folder: Path, struck: Path, before: Path) -> None:
    """`simko doctor --deep` names the file unless its rows are what they were, or are read in a merged one."""
    checkups, _ = check(folder, deep=True)
    if struck in read_manifest(struck.parents[1]).replaced:
        return
    if not any(struck.name in finding for finding in checkups[0].findings):
        assert pq.read_table(struck).equals(pq.read_table(before)), f"{struck.name}: nobody noticed"


def main() -> None:
    folder, seed, cases = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    counts: Counter[str] = Counter()
    whole, copy = folder / "run", folder / f"cases-{seed}" / "run"
    for case in range(cases):
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(whole, copy)
        chance = random.Random(f"{seed}/{case}")
        files = sorted(path for path in copy.rglob("*") if path.is_file() and path.stat().st_size)
        parquet = [path for path in files if path.suffix == ".parquet"]
        struck = chance.choice(parquet if chance.random() < 0.6 else [path for path in files if path not in parquet])
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        try:
            pages = strike(struck, chance)
            counts[read(copy.parent, struck, chance)] += 1
            if pages and struck.parent != copy:  # not the vocabulary
                examined(copy.parent, struck, whole / struck.relative_to(copy))
        except BaseException:
            print(f"case {case} of seed {seed}: {struck.relative_to(copy)}", file=sys.stderr)
            raise
        faulthandler.cancel_dump_traceback_later()
    print(json.dumps(counts))


if __name__ == "__main__":
    main()
