"""`simko tasks`: the list, one task with its problems, and what is wrong in one line."""

from __future__ import annotations

import json

import pytest
from simko.cli.simko import main
from simko.trainers.tasks.catalogue import CATALOGUE


@pytest.fixture
def sums(tmp_path):
    path = tmp_path / "sums.jsonl"
    rows = [{"question": f"What is {n}+{n}\x1b[2J?", "answer": 2 * n} for n in range(3)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def test_the_list_names_every_task_with_its_source(capsys):
    assert main(["tasks"]) == 0
    printed = capsys.readouterr().out
    for name, entry in CATALOGUE.items():
        (line,) = [line for line in printed.splitlines() if line.split(" ")[0] == name]
        assert entry.source in line and entry.grader in line


def test_one_task_as_a_model_sees_it(sums, capsys):
    assert main(["tasks", "math500", "--dataset", sums, "--show", "2", "--prompt_style", "few_shot"]) == 0
    printed = capsys.readouterr().out
    assert "3 to evaluate on" in printed and "256 per problem, T 0.6, top-p 0.95, at most 4096 tokens" in printed
    assert printed.count("\n--- sums-") == 2 and "--- answer: 2" in printed
    assert "few_shot" in printed and "'\\n\\nProblem:'" in printed
    assert "\x1b" not in printed


def test_through_a_models_own_template(capsys, tmp_path, sums):
    import tiny

    tokenizer = tiny.tokenizer()
    tokenizer.chat_template = "{% for m in messages %}[{{ m.role }}] {{ m.content }}{% endfor %}"
    tiny.llama().save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    assert main(["tasks", "math", "--dataset", sums, "--model", str(tmp_path / "model")]) == 0
    printed = capsys.readouterr().out
    assert "[user] What is 0+0" in printed and "3 to train on" in printed


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["math50"], "did you mean math500?"),
        (["math500", "--dataset", "nowhere.jsonl"], "no file nowhere.jsonl"),
        (["tree", "--prompt_style", "plain"], "writes its own prompts"),
        (["math500", "--task_options", "size=3"], "has no --task_options"),
        (["tree", "--show", "x"], "must be a whole number from 0 to 1000"),
        (["tree", "--shw", "1"], "did you mean --show?"),
    ],
)
def test_mistakes_take_one_line(arguments, words, capsys):
    assert main(["tasks", *arguments]) == 2
    printed = capsys.readouterr()
    assert words in printed.err and printed.err.count("\n") == 1 and not printed.out
