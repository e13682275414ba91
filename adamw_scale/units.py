"""Numbers as people write them: "1.3B", "512k", "2%", "3e-4" to floats, and back."""

import math
import re

from adamw_scale.errors import SpecError

_SUFFIXES = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12}
_BINARY = {"ki": 2.0**10, "mi": 2.0**20, "gi": 2.0**30, "ti": 2.0**40}
MAX_LENGTH = 60
SMALLEST, LARGEST = 1e-300, 1e300  # beyond, numbers lose their digits, and their products are none
_QUANTITY = re.compile(
    r"([+-]?(?:\d[\d_]*(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?)([kmgt]i|[kmbgt%]?)", re.IGNORECASE | re.ASCII
)
_TIMES = re.compile(r"\s*[x×*]\s*", re.IGNORECASE)
_GROUPED = re.compile(
    r"([+-]?[0-9]{1,3})(([,.'’\s])[0-9]{3}(?:\3[0-9]{3})*)(?:[.,]([0-9]+))?\s*([kmbgt]?)", re.IGNORECASE
)
_POWER = re.compile(r"(?:([0-9.]+)\s*[x×*·]\s*)?([0-9]{1,4})\s*(?:\^|\*\*)\s*([+-]?[0-9]{1,3})", re.IGNORECASE)
_UNIT = re.compile(r"\s*(?:tokens?|samples?|sequences?|images?|steps?|epochs?|param(?:eter)?s?)", re.IGNORECASE)
_WORDED = re.compile(r"[~≈]?\s*([-+.\de]*\d)\s*([a-z]*|%|per cent)", re.IGNORECASE | re.ASCII)
_SCALES = {
    **dict.fromkeys(("thousand", "thousands"), "k"),
    **dict.fromkeys(("million", "millions", "mn", "mio"), "M"),
    **dict.fromkeys(("billion", "billions", "bn"), "B"),
    **dict.fromkeys(("trillion", "trillions", "tn"), "T"),
    **dict.fromkeys(("percent", "per cent", "pct"), "%"),
}


def parse_quantity(text: str) -> float:
    """Read a number with an optional suffix.

    Suffixes: k, M, B (or G), T for powers of a thousand; Ki, Mi, Gi, Ti for powers of 1024; %.
    Underscores between digits are ignored; commas and spaces are refused, since half the world writes 0,001 for 0.001.

    Raises:
        SpecError: the text is not such a number; the message says how to write what it probably means.

    Example:
        >>> parse_quantity("1.3B"), parse_quantity("512k"), parse_quantity("2%")
        (1300000000.0, 512000.0, 0.02)
    """
    match = _QUANTITY.fullmatch(text.strip()) if len(text) <= MAX_LENGTH else None
    if match is None:
        raise SpecError(f"{text[:60]!r} is not a number: write {_meant(text) or 'for example 1.3B, 512k, 3e-4 or 2%'}")
    digits, suffix = match.groups()
    value = float(digits.replace("_", ""))
    value = value / 100 if suffix == "%" else value * {**_SUFFIXES, **_BINARY}[suffix.lower()]  # exact: 7 % is 0.07
    if value and not SMALLEST <= abs(value) <= LARGEST:
        raise SpecError(
            f"{text[:60]!r} is too {'large' if abs(value) > 1 else 'small'} for anything: check its exponent"
        )
    return value


def factors_of(text: str) -> tuple[float, ...]:
    """A number, or the two of a product: sequences times sequence length.

    Raises:
        SpecError: the text is neither.

    Example:
        >>> factors_of("512x1k"), factors_of("0.5M")
        ((512.0, 1000.0), (500000.0,))
    """
    factors = _factors(text.strip()) if len(text) <= MAX_LENGTH else []
    return (factors[0], factors[1]) if len(factors) == 2 else (parse_quantity(text),)


def _factors(text: str) -> list[float]:
    """Numbers with a sign of multiplication between; empty where it is none. 0x10 is a machine's 16."""
    parts = [] if text.startswith("0") else _TIMES.split(text)
    return [parse_quantity(part) for part in parts] if all(map(_QUANTITY.fullmatch, parts)) else []


def _meant(text: str) -> str:
    """How to write what is not a number but nearly one; empty where that cannot be told."""
    text = text.strip()
    if len(text) > MAX_LENGTH:
        return ""
    plain = text.translate({ord(dash): "-" for dash in "−–—"}).rstrip(",;")
    if plain != text and _QUANTITY.fullmatch(plain):
        return plain
    if grouped := _GROUPED.fullmatch(plain):
        return _ungrouped(*grouped.groups(default=""))
    if re.fullmatch(r"[+-]?\d+,\d+(e[+-]?\d+)?[kmbgt%]?", plain, re.IGNORECASE | re.ASCII):
        return plain.replace(",", ".")
    if power := _POWER.fullmatch(plain):
        times, base, exponent = power.groups()
        return f"{times or 1}e{int(exponent)}" if base == "10" else _of_power(times, int(base), int(exponent))
    if len(parts := plain.split("/")) == 2 and all(
        re.fullmatch(r"\s*[0-9]{1,9}\s*", part) and int(part) for part in parts
    ):
        return f"{int(parts[0]) / int(parts[1]):.6g}"
    if len(_factors(plain)) > 1:
        return "it as one number; only a data set or batch may be a product, of two numbers (512x1024)"
    return _without_words(plain)


def _ungrouped(start: str, groups: str, separator: str, decimals: str, suffix: str) -> str:
    """A number with thousands separators: 1,000,000 -> '1000000 or 1M'."""
    digits = start + re.sub(r"\D", "", groups)
    if separator == "," and len(groups) == 4 and not decimals:  # 0,001 and 1,000: one comma, which may be a decimal one
        decimal = f"{start}.{groups[1:]}{suffix}"
        return decimal if start.lstrip("+-") == "0" else f"{digits}{suffix}, or {decimal} if the comma is a decimal one"
    if decimals or suffix:
        return f"{digits}{'.' if decimals else ''}{decimals}{suffix}"
    short = format_count(float(digits)).replace(",", "")
    return f"{digits} or {short}" if short != digits and parse_quantity(short) == float(digits) else digits


def _of_power(times: str | None, base: int, exponent: int) -> str:
    """A power as a number, where it is one that anybody means: 2^19 -> '524288'."""
    if base == 0 or (times or "1").count(".") > 1:
        return ""
    value = float(times or 1) * float(base) ** exponent if abs(exponent) * math.log2(max(base, 2)) < 70 else math.inf
    return "" if not math.isfinite(value) else f"{value:.0f}" if value == int(value) else f"{value:.6g}"


def _without_words(text: str) -> str:
    """A number with its unit or scale in words: '26 billion tokens' -> '26B', '1.3 B' -> '1.3B'."""
    ends = [found.start() for found in _UNIT.finditer(text) if found.end() == len(text)]
    match = _WORDED.fullmatch(text[: ends[0]] if ends else text)
    number = match[1] + _SCALES.get(match[2].lower(), match[2]) if match else ""
    return number if _QUANTITY.fullmatch(number) else ""


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


def float_of(text: str) -> float | None:
    """A number as Python writes it; None where the text is none."""
    try:
        return float(text)
    except ValueError:
        return None


def printable(text: str) -> str:
    r"""Text on one line, without what a terminal would obey.

    Example:
        >>> printable("a\x1b[31m b\nc")
        'a?[31m b c'
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else "?" for each in " ".join(text.split()))
