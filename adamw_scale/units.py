"""Numbers as people write them: "1.3B", "512k", "2%", "3e-4" to floats, and back."""

import math
import re

from adamw_scale.errors import SpecError

_SUFFIXES = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12}
_BINARY = {"ki": 2.0**10, "mi": 2.0**20, "gi": 2.0**30, "ti": 2.0**40}
MAX_LENGTH = 60
_QUANTITY = re.compile(
    r"([+-]?(?:\d[\d_]*(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?)\s*([kmgt]i|[kmbgt%]?)", re.IGNORECASE | re.ASCII
)


def parse_quantity(text: str) -> float:
    """Read a number with an optional suffix.

    Suffixes: k, M, B (or G), T for powers of a thousand; Ki, Mi, Gi, Ti for powers of 1024; %.
    Underscores between digits are ignored; commas are refused, since half the world writes 0,001 for 0.001.

    Raises:
        SpecError: the text is not such a number.

    Example:
        >>> parse_quantity("1.3B"), parse_quantity("512k"), parse_quantity("2%")
        (1300000000.0, 512000.0, 0.02)
    """
    match = _QUANTITY.fullmatch(text.strip()) if len(text) <= MAX_LENGTH else None
    if match is None:
        raise SpecError(f"{text[:60]!r} is not a number: write for example 1.3B, 512k, 3e-4 or 2%")
    digits, suffix = match.groups()
    value = float(digits.replace("_", ""))
    if suffix == "%":
        return value / 100  # exact where a factor 0.01 is not: 7 % is 0.07
    return value * {**_SUFFIXES, **_BINARY}[suffix.lower()]


def format_count(value: float) -> str:
    """A count as people write it, from a million on in four digits: 1.3B, 512,000, 37,267, 0.224."""
    for scale, suffix in ((1e12, "T"), (1e9, "B"), (1e6, "M")):
        if abs(value) >= scale:
            return f"{value / scale:.4g}{suffix}"
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.3g}"


def format_significant(value: float, digits: int = 2) -> str:
    """A value rounded to significant digits, without trailing noise: 0.0894 -> '0.089'.

    Example:
        >>> format_significant(0.08944), format_significant(3.216e-05), format_significant(12.0)
        ('0.089', '3.2e-05', '12')
    """
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    return f"{float(f'{value:.{digits - 1}e}'):g}"


def format_percent(fraction: float) -> str:
    """A fraction for people: 0.2236 -> '22 %', 0.9972 -> '99.72 %', 1e-9 -> '<0.01 %'."""
    if 0 < fraction < 1e-4:
        return "<0.01 %"
    if 0.995 <= fraction < 1:
        return f"{100 * fraction:.4g} %"
    return f"{format_significant(100 * fraction)} %"


def format_share(fraction: float, whole: str) -> str:
    """A part or a multiple of something: 0.22 -> '22 % of the run', 32 -> '32 times the run'."""
    return (
        f"{format_significant(fraction)} times {whole}" if fraction >= 10 else f"{format_percent(fraction)} of {whole}"
    )


def printable(text: str) -> str:
    r"""Text on one line, without what a terminal would obey.

    Example:
        >>> printable("a\x1b[31m b\nc")
        'a?[31m b c'
    """
    return "".join(each if each.isprintable() else "?" for each in " ".join(text.split()))
