"""Damages a run's files one by one and holds what is read against the truth: `mutations.py FOLDER SEED CASES`.

FOLDER holds whole runs; for every case one is copied and one thing in it changed: bytes, lines, whole files. Then it is
read, examined and compacted. Each case ends as

    right    every row is read
    named    rows are missing, and the damage is named
    wrong    a row is read that was never written, or a row twice
    silent   rows are missing, or read as they are not, and nobody says so

and the last two fail. So does anything that is raised, takes long or brings the process down. The last line on stdout
is a JSON object of counts.
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
from simko.dashboard.mirror import Mirror
from simko.store.errors import SimkoError
from simko.store.layout.schema import TABLES
from simko.store.maintenance.compaction import compact
from simko.store.maintenance.doctor import check
from simko.store.maintenance.garbage import collect
from simko.store.reading.catalog import Catalog
from simko.store.reading.views import VIEWS

SECONDS = 60
"""A case that takes longer is taken for one that never ends."""
NUMBERS = (-1, 0, 1, 2**31, 2**63, 10**30, 0.5, 1e308, float("nan"), float("inf"))
WORDS = ("", "..", "../../../etc/passwd", "/etc/passwd", "tokens", "\x00", "\x1b[2J", "'; DROP VIEW runs --", "∞" * 300)
SAID = (
    "SELECT method, model, task, dataset, temperature, forking_rule, smoothing_k, probe_k, rows_every, precision "
    "FROM run_info",
    "SELECT attempt, start_step, world_size, logged, dropped, temperature, probe_k FROM attempts",
    "SELECT step, change FROM breaks",
    "SELECT token_id, text FROM vocabulary",
    "SELECT step, attempt FROM steps",
)
"""What is said of the run besides its rows."""
Rows = dict[str, "Counter[tuple[object, ...]]"]


def damaged(data: bytes, chance: random.Random) -> bytes:
    """Bytes flipped, zeroed, made up, cut off, put in, taken out or repeated."""
    content, first = bytearray(data), chance.randrange(len(data))
    last = min(len(data), first + chance.choice((1, 4, 64, 1024)))
    match chance.randrange(8):
        case 0:
            content[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        case 1:
            for _ in range(chance.randint(2, 8)):
                content[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        case 2:
            content[first:last] = bytes(last - first)
        case 3:
            content[first:last] = chance.randbytes(last - first)
        case 4:
            del content[first:]
        case 5:
            content[first:first] = chance.randbytes(last - first)
        case 6:
            del content[first:last]
        case 7:
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
    """Lines of JSON: an entry of one of them another value or gone, a line twice, gone, or in another's place."""
    lines = data.splitlines()
    place = chance.randrange(len(lines))
    match chance.randrange(7):
        case 0 if len(lines) > 1:
            del lines[place]
        case 1 if len(lines) > 1:
            other = chance.randrange(len(lines))
            lines[place], lines[other] = lines[other], lines[place]
        case 2 if len(lines) > 1:
            lines.insert(chance.randrange(len(lines) + 1), lines[place])
        case 3 if len(lines) > 1:
            del lines[place:]
        case _:
            try:
                entry = json.loads(lines[place])
            except ValueError:  # a page of JSON
                lines, place, entry = [b""], 0, json.loads(data)
            within = entry
            while isinstance(value := within[name := chance.choice(list(within))], dict) and value:
                within = value
            if chance.random() < 0.7:
                old = within[name]
                near = isinstance(old, int) and chance.random() < 0.5
                within[name] = old + chance.choice((-1, 1)) if near else nonsense(chance)
            else:
                del within[name]
            lines[place] = json.dumps(entry).encode()
    return b"\n".join(lines) + b"\n" * bool(lines)


def strike(file: Path, chance: random.Random) -> None:
    """Damage, remove or replace a file."""
    before = file.read_bytes()
    kind = chance.random()
    if kind < 0.08:
        file.unlink()
    elif kind < 0.14 and (others := [p for p in file.parent.glob(f"*{file.suffix}") if p != file]):
        shutil.copyfile(chance.choice(others), file)
    elif file.suffix != ".parquet":
        file.write_bytes((damaged if chance.random() < 0.5 else misunderstood)(before, chance))
    else:
        after = damaged(before, chance)
        if chance.random() < 0.8:  # as long as before, and ending alike
            after = after[: len(before) - 4].ljust(len(before) - 4, b"\0") + before[-4:]
        file.write_bytes(after)


def rows_of(connection: duckdb.DuckDBPyConnection) -> Rows:
    """Every row that is read, and what is said of the run."""
    queries = {f"all_{table}": f"SELECT * EXCLUDE (run) FROM all_{table}" for table in TABLES}
    queries |= {query: query for query in SAID}
    return {name: Counter(map(repr, connection.execute(sql).fetchall())) for name, sql in queries.items()}


def read(folder: Path, chance: random.Random) -> tuple[Rows, list[str]]:
    """The rows as a person gets them who looks at what `simko doctor --deep` says, and what is named."""
    catalog = Catalog(folder)
    views = chance.sample(VIEWS, 3)
    try:
        for view in views:
            catalog.connection.execute(f"SELECT max(hash(COLUMNS(*))) FROM {view}").fetchall()
    except duckdb.Error:
        assert not all_verified(catalog)
    catalog.leave_out_damaged()
    for view in views:
        catalog.connection.execute(f"SELECT max(hash(COLUMNS(*))) FROM {view}").fetchall()
    if chance.random() < 0.3:
        mirror = Mirror(folder)
        mirror.refresh()
        mirror.refresh()
        with mirror.snapshot() as cursor:
            for view in ("runs", "lambda_k"):
                cursor.execute(f"SELECT max(hash(COLUMNS(*))) FROM {view}").fetchall()
    return rows_of(catalog.connection), catalog.problems


def all_verified(catalog: Catalog) -> bool:
    """Whether every file that is served has a checksum, so that none can fail any more."""
    return all(part.checksum for run in catalog.runs for part in run.manifest.parts)


def judged(truth: Rows, seen: Rows, problems: list[str]) -> str:
    """How a case ends."""
    for table in TABLES:
        if seen[f"all_{table}"] - truth[f"all_{table}"]:
            return "wrong"
    if seen == truth:
        return "right"
    return "named" if problems else "silent"


def worse(first: str, second: str) -> str:
    order = ("right", "named", "silent", "wrong")
    return max(first, second, key=order.index)


def case_of(whole: Path, copy: Path, truth: Rows, chance: random.Random) -> tuple[str, str]:
    """Damage one thing in a copy of a run; what was struck, and how the case ends, before and after a compaction."""
    shutil.rmtree(copy.parent, ignore_errors=True)
    shutil.copytree(whole, copy)
    files = sorted(path for path in copy.rglob("*") if path.is_file() and path.stat().st_size)
    parquet = [path for path in files if path.suffix == ".parquet"]
    struck = chance.choice(parquet if chance.random() < 0.6 else [path for path in files if path not in parquet])
    strike(struck, chance)
    name = str(struck.relative_to(copy))
    seen, problems = read(copy.parent, chance)
    outcome = judged(truth, seen, problems)
    if chance.random() < 0.5 and outcome in ("right", "named"):
        try:
            left = compact(copy).left
            collect(copy, grace=0.0)
        except SimkoError as error:
            left = [str(error)]
        seen, after = read(copy.parent, chance)
        outcome = worse(outcome, judged(truth, seen, [*problems, *after, *left]))
    checkups, elsewhere = check(copy.parent, deep=True)
    if outcome == "named":
        assert elsewhere or any(checkup.findings for checkup in checkups), "doctor found the run healthy"
    return name, outcome


def main() -> None:
    folder, seed, cases = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    runs = sorted(path for path in folder.iterdir() if (path / "run.json").is_file())
    truths = {run: rows_of(Catalog(run).connection) for run in runs}
    counts: Counter[str] = Counter()
    for case in range(cases):
        chance = random.Random(f"{seed}/{case}")
        whole = chance.choice(runs)
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        struck = "?"
        try:
            struck, outcome = case_of(whole, folder / f"cases-{seed}" / whole.name, truths[whole], chance)
        except BaseException:
            print(f"case {case} of seed {seed}, run {whole.name}: {struck}", file=sys.stderr)
            raise
        if outcome in ("wrong", "silent"):
            print(f"case {case} of seed {seed}: {outcome}: {whole.name}/{struck}", file=sys.stderr)
        counts[outcome] += 1
        faulthandler.cancel_dump_traceback_later()
    print(json.dumps(counts))


if __name__ == "__main__":
    main()
