"""Formulas read in two stages, as ANTLR recommends: by the cheap prediction first, by the full one where that fails.

The grammar of latex2sympy2 is read with ANTLR's full prediction (LL), which simulates the parser anew at every conflict
and keeps nothing of it; that is most of what reading an answer costs. The cheap prediction (SLL) ends in the same tree
or in a syntax error, never in another tree; the grammar ends at the end of the text, so neither reads half of it.

Source: ANTLR 4, `PredictionMode.SLL`; Parr, Harwell, Fisher, "Adaptive LL(*) Parsing", OOPSLA 2014, section 3.2.
"""

from __future__ import annotations

from typing import Any


def read_in_two_stages() -> None:
    """Let latex2sympy2 try the cheap prediction first; where its inside is another one, it stays as it is.

    Raises:
        ModuleNotFoundError: math-verify is not installed.
    """
    from antlr4.atn.PredictionMode import PredictionMode
    from latex2sympy2_extended import latex2sympy2

    converter = getattr(latex2sympy2, "_Latex2Sympy", None)
    full = getattr(converter, "create_parser", None)
    if converter is None or full is None or hasattr(full, "full"):
        return

    def create_parser(self: Any, text: str) -> Any:
        parser = full(self, text)
        parser._interp.predictionMode = PredictionMode.SLL
        cheap = parser.math

        def math() -> Any:
            try:
                return cheap()
            except Exception:  # a syntax error, be it the text's or the prediction's
                return full(self, text).math()

        parser.math = math
        return parser

    create_parser.full = full  # type: ignore[attr-defined]
    converter.create_parser = create_parser
