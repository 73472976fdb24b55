"""What runs, tokens and people's words look like on a page: literally as they are, and no longer than there is room.

A name may hold characters that turn the direction of what follows (`\\u202e` makes "evil" read "live"), that cannot be
seen, or that Plotly takes for markup. Each is shown by its number, `⟨U+202E⟩`; markup is shown as text.

    literal     for tables, menus and `textContent`
    label       for Plotly: a legend, a panel's title, a tick; shortened
    whole       for Plotly: what hovering over it says
"""

from __future__ import annotations

import textwrap
import unicodedata

import pandas as pd

LONGEST = 32
"""Characters of a name in a legend; a longer one loses its middle."""
_JOINERS = "\u200c\u200d"
_HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def literal(text: str, *, running: bool = False) -> str:
    """Text in which every character that is invisible or turns directions is shown by its number.

    Args:
        text: untrusted.
        running: it is a text rather than a name: line ends, tabs, and the joiners that Persian and emoji need, stay.
    """
    if text.isprintable():
        return text
    keep = f"\n\t{_JOINERS}" if running else ""
    return "".join(_shown(sign, keep) for sign in text)


def _shown(sign: str, keep: str) -> str:
    hidden = unicodedata.category(sign) in _HIDDEN and sign not in keep
    return f"⟨U+{ord(sign):04X}⟩" if hidden else sign


def shortened(text: str, most: int = LONGEST) -> str:
    """A text of at most `most` characters: the middle goes, since names differ at their ends."""
    if len(text) <= most:
        return text
    end = most // 2 - 1
    return f"{text[: most - 1 - end]}…{text[-end:]}"


def markup(text: str) -> str:
    """Text as Plotly shows it literally: neither tags, nor entities, nor `%{…}` of a hover template."""
    for sign, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("%{", "&#37;{")):
        text = text.replace(sign, entity)
    return text


def label(name: str) -> str:
    """A name for a legend, a panel or a tick of Plotly."""
    return markup(shortened(literal(name)))


def whole(name: str) -> str:
    """A name for a Plotly hover text, all of it, on as many lines as it needs."""
    lines = textwrap.wrap(literal(name), 60, break_on_hyphens=False, drop_whitespace=False) or [""]
    return "<br>".join(markup(line) for line in lines)


def literal_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """A table whose texts, and names of columns, are shown literally."""
    frame = frame.rename(columns=lambda name: literal(name) if isinstance(name, str) else name)
    texts = [place for place, kind in enumerate(frame.dtypes) if not pd.api.types.is_numeric_dtype(kind)]
    for place in texts:
        column = frame.iloc[:, place]
        if any(isinstance(cell, str) for cell in column):
            frame.isetitem(place, [literal(cell, running=True) if isinstance(cell, str) else cell for cell in column])
    return frame
