r"""The last `\boxed{…}` of a text: where a math response or a worked solution puts its final answer.

Braces are matched, not guessed: `\boxed{\frac{1}{2}}` gives `\frac{1}{2}`. Escaped braces do not count. Linear in the
length of the text. `\fbox{…}` counts as a box, as in the MATH data set; `\boxed 5` does too.

Without a box, a line `#### 18` marks the answer, as GSM8K's solutions do.
"""

from __future__ import annotations

import re

_BOX = re.compile(r"\\f?box(?:ed)?(?=\s*\{|\s+[^\s{])\s*")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_MARKED = re.compile(
    r"^[ \t]*####[ \t]*(\\?\$?[ \t]*[-+]?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:/\d+)?[ \t]*\\?%?)\.?[ \t]*$", re.MULTILINE
)
_UNBRACED = re.compile(r"[^\s$.,;]+")


def last_boxed(text: str) -> str | None:
    r"""The content of the last box, stripped; None where there is no box or the last one is never closed."""
    starts = [box.end() for box in _BOX.finditer(text)]
    if not starts:
        return None
    start = starts[-1]
    if text[start] != "{":
        unbraced = _UNBRACED.match(text, start)
        return unbraced.group() if unbraced else None
    depth = 0
    for brace in _BRACE.finditer(text, start):
        if brace.group() == "{":
            depth += 1
        elif brace.group() == "}":
            depth -= 1
            if depth == 0:
                return text[start + 1 : brace.start()].strip()
    return None


def marked_number(text: str) -> str | None:
    """The number that stands alone after `####`, in the last line of that form; None where there is none.

    `#### Step 3` and `#### 3. Add` are headings, not answers.
    """
    marked = _MARKED.findall(text)
    return marked[-1].strip() if marked else None
