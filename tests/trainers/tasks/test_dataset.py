from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from simko.trainers.errors import ColumnsMissing, DatasetNotFound, DatasetUnreadable
from simko.trainers.tasks.math import MathTask

VERL_PROMPT = [{"role": "user", "content": "What is 2+2?"}]
LAYOUTS: dict[str, tuple[dict[str, Any], str]] = {
    "verl": ({"prompt": VERL_PROMPT, "reward_model": {"ground_truth": "4", "style": "rule"}}, "4"),
    "verl with target": ({"prompt": VERL_PROMPT, "reward_model": {"ground_truth": {"target": "4"}}}, "4"),
    "verl with a mangled target": (
        {
            "prompt": VERL_PROMPT,
            "reward_model": {"ground_truth": {"target": "{June20}", "solution": r"It is \boxed{\text{June 20}}."}},
        },
        r"\text{June 20}",
    ),
    "gsm8k": ({"question": "What is 2+2?", "answer": "2+2=<<2+2=4>>4\n#### 4"}, "4"),
    "plain": ({"problem": "What is 2+2?", "answer": "4"}, "4"),
    "solution": ({"problem": "What is 2+2?", "solution": r"Not \boxed{5} but \boxed{\frac{8}{2}}."}, r"\frac{8}{2}"),
    "olympiadbench": ({"question": "What is 2+2?", "final_answer": ["4"], "answer_type": "Numerical"}, "4"),
}


def lines(path: Path, *rows: dict[str, Any]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".parquet"])
def test_every_layout_in_every_file_format(tmp_path: Path, layout: str, suffix: str) -> None:
    row, gold = LAYOUTS[layout]
    path = tmp_path / f"rows{suffix}"
    if suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist([row, row]), path)
    elif suffix == ".json":
        path.write_text(json.dumps([row, row]), encoding="utf-8")
    else:
        lines(path, row, row)
    problems = MathTask("math", str(path), None).train
    assert problems["answer"][:] == [gold, gold]
    assert len(set(problems["prompt_id"])) == 2
    assert all("What is 2+2?" in prompt for prompt in problems["prompt"])


def test_a_folder_and_a_limit(tmp_path: Path) -> None:
    lines(tmp_path / "a.jsonl", {"question": "a?", "answer": "1"})
    lines(tmp_path / "b.jsonl", {"question": "b?", "answer": "2"})
    assert MathTask("math", str(tmp_path), None).train["answer"][:] == ["1", "2"]
    assert MathTask("math", str(tmp_path), None, limit=1).train["answer"][:] == ["1"]


def test_rows_without_an_answer_are_left_out_and_the_others_keep_their_identity(tmp_path: Path) -> None:
    rows = [{"problem": f"{n}?", "solution": r"\boxed{1}" if n % 2 else "a proof"} for n in range(4)]
    source = lines(tmp_path / "rows.jsonl", *rows)
    whole = MathTask("math", source, None).train
    assert len(whole) == 2
    assert MathTask("math", source, None, limit=2).train["prompt_id"][:] == whole["prompt_id"][:1]


def test_missing_columns_are_answered_with_those_found_and_those_wanted(tmp_path: Path) -> None:
    with pytest.raises(ColumnsMissing) as fault:
        MathTask("math", lines(tmp_path / "rows.jsonl", {"input": "2+2", "target": "4"}), None)
    message = str(fault.value)
    assert "input, target" in message and "reward_model" in message and "final_answer" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.parquet", b"PAR1 and then nothing", "rows.parquet"),
        ("rows.parquet", b"", "rows.parquet"),
        ("rows.jsonl", b"", "no rows"),
        ("rows.jsonl", b'{"question": "a?", "answer": "1"}\n{"quest', "line 2"),
        ("rows.jsonl", b"[1]\n", "line 1"),
        ("rows.json", b'"text"', "rows.json"),
        ("rows.jsonl", b"\xff\xfe\x00", "UTF-8"),
        ("rows.csv", b"question,answer\n", ".parquet"),
    ],
)
def test_damaged_files(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetUnreadable) as fault:
        MathTask("math", str(tmp_path / name), None)
    assert message in str(fault.value) and "\n" not in str(fault.value)


def test_nothing_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DatasetNotFound, match="give an existing"):
        MathTask("math", str(tmp_path / "none.parquet"), None)
    with pytest.raises(DatasetNotFound):
        MathTask("math", str(tmp_path), None)  # a folder without files
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(DatasetNotFound, match=r"offline.*local \.parquet or \.jsonl") as fault:
        MathTask("math", "nobody/nothing", None)
    assert "\n" not in str(fault.value)
