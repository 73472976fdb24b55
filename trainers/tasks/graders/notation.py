r"""What a computer algebra system drops from a math answer although it is part of the answer: bases, units' powers.

math-verify reads `40_9` and `40_{10}` as 40, and `15\text{ cm}^2` and `15\text{ cm}^3` as 15. Here the texts of both
answers are read once more, and answers that name different bases, different powers of one unit, or different units of
one kind are told apart. An answer that leaves the base or the unit out contradicts nothing: the question has named it.
"""

from __future__ import annotations

import re
from fractions import Fraction

_NUMBER_WORDS = "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
_BASES = {word: number for number, word in enumerate(_NUMBER_WORDS.split(), 2)}
_SUBSCRIPT = re.compile(r"\d[)}\s]*_\s*\{?\s*(?:\\\w+\s*\{)?\s*(?:base\s*)?(\d+|[a-z]+)")
_BASE = re.compile(r"\bbase[\s{}$-]*(\d+|[a-z]+)")
_NAME = re.compile(r"(?<![A-Za-z\\])[A-Za-z]\s*_")
_KINDS = (
    "mm millimeter millimeters|cm centimeter centimeters|m meter meters metre metres|km kilometer kilometers|"
    "in inch inches|ft foot feet|yd yard yards|mi mile miles",
    "ms millisecond milliseconds|s sec second seconds|min minute minutes|h hr hour hours|day days|week weeks|"
    "month months|year years",
    "mg milligram milligrams|g gram grams|kg kilogram kilograms|lb pound pounds|oz ounce ounces",
    "cent cents|dollar dollars",
    "unit units",
)
_UNITS = {
    word: (kind, names.split()[0])
    for kind, group in enumerate(_KINDS)
    for names in group.split("|")
    for word in names.split()
}
_TEXT = re.compile(r"\\(?:text\w*|mbox|mathrm|operatorname|rm)\s*\{([^{}]*)\}")
_UNIT = re.compile(
    r"(?P<before>square|sq\.?|cubic|cu\.?)?\s*\b(?!square|cubic|sq\b|cu\b)(?P<unit>[a-z]+)\b\.?\s*\}?\s*"
    r"(?:\^\s*\{?\s*(?P<power>-?\d+)|(?P<superscript>[²³])|(?P<after>squared|cubed))?"
)
_PLAIN = re.compile(r"[-+]?(?:\d+|\d{1,3}(?:,\d{3})+)(?:\.\d*)?|[-+]?\.\d+")
_FRACTION = re.compile(r"([-+]?)(?:\\[dt]?frac(\{\d+\}|\d)(\{\d+\}|\d)|(\d+)/(\d+))")
_TUPLE = re.compile(r"(?:\\left)?([(\[])([^()\[\]]*?)(?:\\right)?([)\]])")
_ELEMENT = re.compile(
    r"[-+]?(?:(?:0|[1-9]\d*)(?:\.\d+)?|\.\d+|\\[dt]?frac\{\d+\}\{\d+\}|\d+/\d+)"  # 000 could be thousands
)
_MARGIN = re.compile(r"\$|\s|\.$")
_APART = re.compile(r"\d\s+\d")
_SCIENTIFIC = re.compile(r"(?<![A-Za-z\\_{^])(\d+(?:\.\d*)?)[eE]([-+]?\d+)(?![\w.])")
_POINT = re.compile(r"(\d)\.(?!\d)")
_FONT = re.compile(r"\\(?:text\w*|mbox|mathrm|mathbf)\s*\{([^{}]*)\}")
_BRACKETS = re.compile(r"\((.*)\)")
_MARKS = re.compile(r"\\[,!;: ]|\\?\$|\\(?:left|right)(?![a-z])|[\s{}]")


def readable(text: str) -> str:
    r"""The answer as a LaTeX parser can read it: without `$` and `\$`, `3e-9` and `1./3` written out."""
    text = text.replace("\\$", "").replace("$", "").strip().rstrip(".")
    text = _SCIENTIFIC.sub(r"\1 \\times 10^{\2}", text)
    return _POINT.sub(r"\1", text)


def bare(text: str) -> str:
    """The answer without spaces, braces, dollar signs, fonts and sizes of brackets, to compare letter for letter."""
    return _MARKS.sub("", _FONT.sub(r"\1", text.replace("dfrac", "frac").replace("tfrac", "frac"))).rstrip(".")


def apart(text: str) -> bool:
    """Whether a space stands between two digits, as in `1 1/2`, which is not `11/2`."""
    return _APART.search(text) is not None


def names_a_base(text: str) -> bool:
    """Whether a number with a base stands in the answer, as in `40_9`."""
    return bool(_bases_of(text))


def plain_number(text: str) -> Fraction | None:
    """The value of digits with a sign, a point and thousands at most, or of a fraction of two; None for the rest."""
    fraction = _FRACTION.fullmatch(_MARGIN.sub("", text)) if len(text) < 400 and not apart(text) else None
    if fraction:
        sign, *parts = (part for part in fraction.groups() if part is not None)
        above, below = (int(part.strip("{}")) for part in parts)
        return (-1 if sign == "-" else 1) * Fraction(above, below) if below else None
    text = _BRACKETS.sub(r"\1", bare(text.replace("{,}", ",")))
    return Fraction(text.replace(",", "").rstrip(".")) if len(text) < 400 and _PLAIN.fullmatch(text) else None


def plain_tuple(text: str) -> tuple[str, list[Fraction]] | None:
    """Brackets and numbers of a tuple or interval of plain numbers, such as `(3,-1/2]`; None for the rest."""
    match = _TUPLE.fullmatch(_MARGIN.sub("", text)) if len(text) < 400 and not apart(text) else None
    if match is None:
        return None
    opening, inside, closing = match.groups()
    elements = inside.split(",")
    values = [plain_number(element) if _ELEMENT.fullmatch(element) else None for element in elements]
    numbers = [value for value in values if value is not None]
    return (opening + closing, numbers) if len(numbers) == len(elements) > 1 else None


def names_a_subscript(text: str) -> bool:
    """Whether a letter with a subscript stands in the answer, as in `E_1 + 2`."""
    return _NAME.search(text) is not None


def contradict(first: str, second: str) -> bool:
    """Whether two answers name different bases, powers of a unit, or units of one kind."""
    bases = [_bases_of(text) for text in (first, second)]
    if bases[0] and bases[1] and bases[0] != bases[1]:
        return True
    ours, theirs = _units_of(first), _units_of(second)
    if any(ours[unit] != theirs[unit] for unit in ours.keys() & theirs.keys()):
        return True
    if len(ours) != 1 or len(theirs) != 1 or ours.keys() == theirs.keys():
        return False
    (one, *_), (other, *_) = ours, theirs
    return one[0] == other[0]


def _bases_of(text: str) -> set[int]:
    lower = text.lower()
    words = _SUBSCRIPT.findall(lower) + _BASE.findall(lower)
    return {int(word) if word.isdigit() else _BASES[word] for word in words if word.isdigit() or word in _BASES}


def _units_of(text: str) -> dict[tuple[int, str], int]:
    """(kind, unit) → its power; short units count in upright text alone, where `m` is no variable."""
    upright = " ".join(f"{part.group(1)} {text[part.end() : part.end() + 6]} ; " for part in _TEXT.finditer(text))
    spelled = _TEXT.sub(" ; ", text)
    result: dict[tuple[int, str], int] = {}
    for source, shortest in ((upright, 1), (spelled, 4)):
        for match in _UNIT.finditer(source.lower().replace("~", " ")):
            unit = match["unit"]
            if unit in _UNITS and len(unit) >= shortest:
                result[_UNITS[unit]] = _power_of(match)
    return result


def _power_of(unit: re.Match[str]) -> int:
    if unit["power"]:
        return int(unit["power"])
    word = unit["before"] or unit["superscript"] or unit["after"] or ""
    return 2 if word.startswith(("sq", "²")) else 3 if word else 1
