"""One small puzzle of our own for every task of SynLogic, with responses that are right, wrong and damaged."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


def python(text: Any) -> str:
    """In a fence, as many tasks ask."""
    return f"I tried the cases.\n```python\n{text}\n```"


@dataclass(frozen=True)
class Case:
    """A puzzle; `damaged` holds the right answer in a form that is not accepted."""

    right: tuple[str, ...]
    wrong: tuple[str, ...]
    damaged: tuple[str, ...]
    metadata: dict[str, Any] | None = None
    answer: Any = ""
    question: str = ""

    def row(self, task: str) -> dict[str, Any]:
        """In verl's layout."""
        data = {"question": self.question, "answer": self.answer, "difficulty": 1, "metadata": self.metadata}
        return {
            "data_source": task,
            "prompt": [{"role": "user", "content": self.question or "What is it?"}],
            "reward_model": {"style": "rule", "ground_truth": str(self.answer)},
            "extra_info": {"index": 0, "game_data_str": json.dumps(data, ensure_ascii=False)},
        }


FUTOSHIKI = "当前题目：\nX 1\nX X\n\n不等式约束：\n(1,1) > (1,2)\n"
SUDOKU = tuple(tuple((3 * r + r // 3 + c) % 9 + 1 for c in range(9)) for r in range(9))
SWAPPED = (SUDOKU[1], SUDOKU[0], *SUDOKU[2:])
STARS = "{'A': [(1, 2)], 'B': [(2, 4)], 'C': [(3, 1)], 'D': [(4, 3)]}"
WALLS = '[["A", "A", "A"], ["A", 1, "A"], ["A", "A", "A"]]'
CAGES = [
    {"cells": ["(1,1)", "(1,2)"], "target": 3, "operator": "+"},
    {"cells": ["(2,1)"], "target": 2, "operator": "*"},
    {"cells": ["(2,2)", "(1,2)"], "target": 2, "operator": "÷"},
]

CASES = {
    "arc_agi": Case(
        ("```json\n[[1, 0]]\n```", "[[1, 0]]"), ("[[0, 1]]",), ("[[1, 0]", python("[[1, 0]]")), answer=[[1, 0]]
    ),
    "arrow_maze": Case(
        (python('[["2", "→", "→"]]'), "so [['2', '→', '→']]", python('maze = [["2", "→", "→"]]')),
        (python('[["2", "→", "↑"]]'), '[["2", "→", "X"]]', '[["1", "→", "→"]]', '[["2", "→"]]', "[[2, '→', '→']]"),
        ('["2", "→", "→"]', python('[["2", "→", "→"]')),
        {"maze": [["2", "X", "X"]]},
    ),
    "boolean_expressions": Case(
        (r"\boxed{C, a}",), (r"\boxed{A}", r"\boxed{A, C} no \boxed{B}"), (r"\boxed{A,C", "A, C"), answer="A,C"
    ),
    "buggy_tables": Case(
        ("7.25, no: 12.50", "12.50"), ("12.51", "112.50", "-12.50"), ("12.5", "12.500"), answer="12.50"
    ),
    "calcudoko": Case(
        ("[[1 2,2 1]]", "1 2,2 1"),
        ("[[2 1,1 2]]", "[[1 1,2 2]]", "[[2 1,1 2]] no: [[1 2,2 1]]"),
        ("[[1, 2], [2, 1]]", "[[1 2\n2 1]]"),
        {"grid_size": 2, "regions": CAGES},
    ),
    "campsite": Case(
        ("[['T', 'C'], ['.', 'X']]",),
        ("[['C', 'T'], ['X', 'X']]", "[['T', 'X'], ['C', 'X']]", "[['T', 'C']]", "[['T', 'C'], ['X', 'C']]"),
        ("[['T', 'C'], ['X', 'X'", "T C\nX X"),
        {"grid": [["T", "X"], ["X", "X"]], "row_constraints": [1, 0], "col_constraints": [0, 1]},
    ),
    "cipher": Case(
        (python('[["ABC"]]'), "[['ABC']]"),
        (python('[["ABD"]]'), '[["abc"]]', '["ABC"]'),
        ("[[ABC]]", '"".join(["ABC"])'),
        answer="[[ABC]]",
    ),
    "cryptarithm": Case(
        ("The answer is 12 + 3 = 15.", "1+1=2 so 12+3=15"),
        ("12 + 4 = 16", "3 + 12 = 15", "12+3=15, check: 1+1=2"),
        ("15 = 12 + 3", "12 plus 3 is 15"),
        answer="12 + 3 = 15",
    ),
    "dyck_language": Case(
        ("( [ ] )", '"([])"', "<think>hm</think><answer>([])</answer>"),
        ("([])()", "([]", "the answer is ([])"),
        ("`([])`", "([]).", "<answer>([])"),
        {"full_sequence": "([])"},
    ),
    "dyck_language_errors": Case(
        (" 3 ", "+3", "<answer>3</answer>"),
        ("4", "-1", "It is valid.", "It is invalid at 3"),
        ("3.", r"\boxed{3}", "3.0"),
        {"is_valid": False, "first_error_pos": 3},
    ),
    "dyck_language_reasoning_errors": Case(
        ("3,10", "Thought 10, Thought 3", "[10，3]"),
        ("3", "3, 10, 11", "no errors", '""', "3, 10, but unclear"),
        ("3 and 10", "three, ten"),
        {"error_indices": [3, 10]},
    ),
    "futoshiki": Case(
        ("[[2 1,1 2]]", "[[1 2,2 1]] no, [[2 1,1 2]]"),
        ("[[1 2,2 1]]", "[[2 1,2 1]]", "[[2 1,1 2]] no, [[1 2,2 1]]"),
        ("[[2, 1], [1, 2]]", "2 1,1 2"),
        {"grid_size": 2, "constraints": [[[0, 0], [0, 1], ">"]], "prefilled_coords": [[0, 1]]},
        question=FUTOSHIKI,
    ),
    "game_of_24": Case(
        (python("4*6*1*1"), python("(-4) * -6 + 1 - 1")),
        (python("4*6"), python("4*6*1*2"), python("4*6/(1-1)"), python("4*6*1*1 = 24"), python("11+4+6+1")),
        ("4*6*1*1", "```\n4*6*1*1\n```", python("4×6×1×1")),
        {"numbers": [4, 6, 1, 1], "operators": ["+", "-", "*", "/"], "result": 24},
    ),
    "goods_exchange": Case(
        (python("(('Bob','PEN'),('Ann','red cup'))"), python("((ann, red cup),(Bob, pen))")),
        (python("(('Ann','pen'),('Bob','red cup'))"), python("(('Ann','red cup'),)"), python("(1, 2)")),
        ("(('Ann','red cup'),('Bob','pen'))", python("[('Ann','red cup'),('Bob','pen')]")),
        {"owns_after": "(('Ann','red cup'),('Bob','pen'))"},
    ),
    "kukurasu": Case(
        ('[["X", "1"], ["1", "X"]]', '[ [ "X","1" ] ,\n [ "1","X" ] ]'),
        ('[["1", "X"], ["X", "1"]]', '[["X", "1"]]', '[["1", "1"]] or [["X", "1"], ["1", "X"]]'),
        ("[['X', '1'], ['1', 'X']]", '[["X", 1], [1, "X"]]'),
        {"row_sums": [2, 1], "col_sums": [2, 1]},
    ),
    "math_path": Case(
        ("[[(1+3)*2=8]]", "[[ ((2 + 2)) * 2 = (8) ]]", "[[9]] or [[(4+0)*2 = 8]]"),
        ("[[(1+3)*2=9]]", "[[(1+4)*2=8]]", "[[(1+3)*3=8]]", "[[8=(1+3)*2]]", "[[(1-3)*2=8]]", "[[(1+3)*2==8]]"),
        ("(1+3)*2=8", "[(1+3)*2=8]", "[[\n(1+3)*2=8\n]]"),
        {"query_expr": "(?+?)*2 = 8"},
    ),
    "minesweeper": Case(
        ("[(0, 1), (2, 2)]", "[[2, 2], [0, 1]]", "(2,2) and (0,1)", "row 0 col 1, row 2 col 2"),
        ("[(1, 0)]", "[]", "[(0, 1), (2, 2), (3, 3)]"),
        ("the upper right one", "0"),
        {"current_mines": [[0, 1], [2, 2]]},
    ),
    "norinori": Case(
        ("[[(1,1), (1,2)], [(3,1), (3,2)], [(3,4), (4,4)]]", "((1, 1), (1, 2)), ((3, 2), (3, 1)), ((4, 4), (3, 4))"),
        (
            "[[(1,1), (2,2)], [(3,1), (3,2)], [(3,4), (4,4)]]",
            "[[(1,1), (1,2)], [(2,2), (2,3)], [(3,1), (3,2)], [(3,4), (4,4)]]",
            "[[(0,0), (0,1)], [(2,0), (2,1)], [(2,3), (3,3)]]",
            "[[(1,1), (1,2)], [(3,2), (3,3)]]",
            "[[(1,1), (1,2)], [(1,1), (1,2)], [(3,1), (3,2)], [(3,4), (4,4)]]",
        ),
        ("[[1, 1], [1, 2]]", "[(1,1)"),
        {"region_grid": [list("AAAA"), list("AAAA"), list("XBBB"), list("BBBX")]},
    ),
    "number_wall": Case(
        (python(WALLS), WALLS.replace('"', "'"), WALLS.replace("1", '"1"')),
        (WALLS.replace("1", "2"), WALLS.replace('["A"', '["X"', 1), WALLS.replace("1", '"A"'), '[["A", 1]]'),
        (WALLS.lower(), WALLS[:-1], WALLS.replace(",", "")),
        {"grid": [["X", "X", "X"], ["X", 1, "X"], ["X", "X", "X"]]},
    ),
    "numbrix": Case(
        ("[[1, 2], [4, 3]]", "[[1, 2], [3, 4]] no [[1, 2], [4, 3]]", "[[[1, 2], [4, 3]]"),
        ("[[1, 2], [3, 4]]", "[[1, 4], [3, 2]]", "[[1, 2], [2, 1]]", "[[1, 2]]", "[[1, 2], [4, 3.0]]"),
        ("((1, 2), (4, 3))", "1 2\n4 3", "[[1, 2], [4, x]]"),
        {"grid": [[1, "X"], ["X", 3]]},
    ),
    "object_counting": Case((r"\boxed{ 45 }", r"\boxed{+045}"), (r"\boxed{46}", r"\boxed{45} \boxed{46}"),
                            (r"\boxed{45.0}", r"\boxed{45 cups}", "45", r"\boxed{45"), answer="45"),
    "object_properties": Case((r"\boxed{45}",), (r"\boxed{46}", r"\boxed{unknown}"), (r"\boxed{\text{45}}", "45"),
                              answer="45"),
    "operation": Case(
        (r"\boxed{\frac{1}{2}}", r"\boxed{x = 0.50}", "The answer is 1/2. I tried 3 ways.", "0.5"),
        (r"\boxed{0.6}", r"\boxed{0.5} or \boxed{0.6}", "0.5 or 0.6", r"\boxed{1/0}", r"\boxed{0.5\%}"),
        (r"\boxed{0.5", "a half", r"\boxed{a half}"),
        answer="0.5",
    ),
    "skyscraper_puzzle": Case(
        (python("[[1, 2],\n [2, 1]]  # rows"), python("[[1, 2], [2, 1]]") + python("[[2, 1], [1, 2]]")),
        (python("[[2, 1], [1, 2]]"), python("[[1, 1], [2, 2]]"), python("[['1', '2'], ['2', '1']]"), python("[[1]]")),
        ("[[1, 2], [2, 1]]", python("grid = [[1, 2], [2, 1]]")),
        {"n": 2, "top": [2, 1], "bottom": [1, 2], "left": [2, 1], "right": [1, 2]},
    ),
    "space_reasoning": Case((r"\boxed{Red cup}",), (r"\boxed{the red cup}", r"\boxed{red cup} \boxed{pen}"),
                            ("red cup", r"\boxed{red cup"), answer="red cup"),
    "space_reasoning_tree": Case((r"\boxed{pen，red cup}",), (r"\boxed{pen}", r"\boxed{pen, Red cup}"),
                                 ("red cup, pen", r"\boxed{red cup, pen"), answer="red cup, pen"),
    "star_placement_puzzle": Case(
        (python(STARS), python(f"stars = {STARS}"), python("{'Z': [(1, 2), (2, 4), [3, 1], (4, 3)]}")),
        (
            python(STARS.replace("4, 3", "4, 4")),
            python("{'A': [(1, 1)], 'B': [(2, 2)], 'C': [(3, 3)], 'D': [(4, 4)]}"),
            python(STARS.replace("(1, 2)", "(1, 2, 3)")),
            python("{'A': [(0, 1)], 'B': [(1, 3)], 'C': [(2, 0)], 'D': [(3, 2)]}"),
            python("{'A': (1, 2)}"),
        ),
        (STARS, f"```\n{STARS}\n```", python(STARS[:-1])),
        {"n": 4, "k": 1, "region_grid": [[name] * 4 for name in "ABCD"]},
    ),
    "sudoku": Case(
        (python(SUDOKU), python([list(row) for row in SUDOKU]), str(SUDOKU)),
        (python(SWAPPED), python(SUDOKU[:8]), python((*SUDOKU[:8], SUDOKU[7])), python("((1,),)")),
        (str([list(row) for row in SUDOKU]), python(f"x = {SUDOKU}")),
        {"original_sudoku": [[SUDOKU[0][0], *["X"] * 8], *[["X"] * 9] * 8]},
    ),
    "survo": Case(
        (python("[[1, 2, 3], [4, 5, 9], [5, 7, 12]]"), "[[1.0, 2, 3], [4, 5, 9], [5, 7, 12]]"),
        (
            python("[[2, 1, 3], [4, 5, 9], [6, 6, 12]]"),
            python("[[1, 2, 3], [4, 5, 9], [5, 7, 13]]"),
            python("[[1, 2, 3], [5, 5, 9], [5, 7, 12]]"),
            python("[[1, 2, 3]]"),
        ),
        ("((1, 2, 3), (4, 5, 9), (5, 7, 12))", python("[[1, 2, 3], [4, 5, 9], [5, 7, 12],]")),
        {"original_matrix": [[0, 0, 3], [4, 5, 9], [5, 7, 12]], "candidate_numbers": [2, 1]},
    ),
    "time_sequence": Case(
        ("[45, 3]", "[1, 1] so [45，3, 7]"), ("[45, 4]", "[3, 45]", "[45, 3] or [45, 4]", "[45]"),
        ("45, 3", "(45, 3)", "[45, 3", "[45 min, 3]"),
        {"records": {"answers": {"answer_maxLen": 45, "answer_nums": 3}, "schedule": {}}},
    ),
    "web_of_lies": Case(
        ("So.\nThe answer is **yes, No**.", "答案是：**是，否**", "The answer is yes, no.", "So\n**true, false**"),
        ("The answer is **yes, yes**.", "The answer is **yes**.", "**yes, no**, no:\nThe answer is **no, no**"),
        ("The answer is unclear.", "I cannot tell"),
        answer="yes, no",
    ),
    "word_sorting": Case((r"\boxed{ant，bee}",), (r"\boxed{bee, ant}", r"\boxed{ant, Bee}"),
                         ("ant, bee", r"\boxed{ant, bee", r"\boxed{ant bee}"), answer="ant, bee"),
    "word_sorting_mistake": Case((r"\boxed{2}", r"\boxed{02}"), (r"\boxed{3}", r"\boxed{No}"),
                                 (r"\boxed{Thought 2}", "2"), answer=2),
    "wordscapes": Case(
        ('[["A", "t"], ["m", " "]]', "<think>[[x]]</think>[[a, t], [m, 0]]"),
        ('[["a", "t"], ["m", "e"]]', '[["a", "t"], ["n", ""]]', '[["a", "t"]]', '[["a", ""], ["m", ""]]'),
        ("a t\nm", '[["a", "t"], ["m", " "'),
        {"grid": [["X", "X"], ["X", "0"]], "across_words": ["at"], "down_words": ["am"]},
    ),
    "zebra_puzzle": Case(
        ('So:\n```json\n{"rows": [["1", "cat"]], "n": 1}\n```', "{'n': 1, 'rows': [['1', 'cat']]}"),
        ('{"rows": [["1", "dog"]], "n": 1}', '{"rows": [["1", "cat"]], "n": 1.0}', '{"rows": [["1", "cat"]]}'),
        ('{"rows": [["1", "cat"]], "n": 1', 'dict(rows=[["1", "cat"]], n=1)'),
        answer='{"n": 1, "rows": [["1", "cat"]]}',
    ),
}  # fmt: skip

VALID = Case((), (), (), {"is_valid": True, "first_error_pos": None})
"""A bracket sequence without a fault."""
NO_ERRORS = Case((), (), (), {"error_indices": []})
NO_MINES = Case((), (), (), {"current_mines": []})
UNKNOWN = Case((), (), (), answer="unknown")
NO_MISTAKE = Case((), (), ())

DIFFERENCES = {
    "arrow_maze.digit_in_blank": (Case((), (), (), {"maze": [["1", "X", "X"]]}), '[["1", "→", "0"]]'),
    "calcudoko.cells": (CASES["calcudoko"], "[[1 2,2]]"),
    "dyck_language_errors.negated": (VALID, "The sequence is invalid."),
    "dyck_language_reasoning_errors.no_answer": (NO_ERRORS, "I cannot tell."),
    "futoshiki.givens": (
        Case((), (), (), {**CASES["futoshiki"].metadata, "constraints": []}, question=FUTOSHIKI),
        "[[1 2,2 1]]",
    ),
    "game_of_24.operators": (CASES["game_of_24"], python("4*6*1**1")),
    "game_of_24.value": (CASES["game_of_24"], python("4+6+1+1")),
    "math_path.no_equation": (Case((), (), (), {"query_expr": "?-? = -1"}), "[[3-4-1]]"),
    "math_path.structure": (CASES["math_path"], "[[2+(3*2)=8]]"),
    "minesweeper.no_answer": (NO_MINES, "No mine is certain."),
    "norinori.empty_region": (CASES["norinori"], "[[(3,1), (3,2)], [(3,4), (4,4)]]"),
    "number_wall.invented_number": (
        Case((), (), (), {"grid": [[1, "X", 1], ["X", "X", "X"], [1, "X", "X"]]}),
        '[[1, "A", 1], ["A", "A", "A"], [1, "A", 1]]',
    ),
    "object_counting.underscore": (CASES["object_counting"], r"\boxed{4_5}"),
    "object_properties.underscore": (CASES["object_properties"], r"\boxed{4_5}"),
    "object_properties.unknown": (UNKNOWN, r"\boxed{Unknown}"),
    "operation.text": (CASES["operation"], r"\boxed{\text{0.5}}"),
}
