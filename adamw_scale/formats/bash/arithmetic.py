"""Whole numbers as bash's $(( )) computes them, of 64 bits; nothing is assigned.

Bits, shifts, conditions with ?, and numbers that are not decimal have no value here.
"""

import operator
import re
from collections.abc import Callable

MOST_TOKENS = 100
_TOKEN = re.compile(r"\d\w*|[A-Za-z_]\w*|\*\*|[<>=!]=|&&|\|\||[-+*/%<>!()]")
_LARGEST = 2**63


class NotKnownError(ValueError):
    """An expression has no value that can be told."""


def _divided(left: int, right: int) -> int:
    """Rounded towards zero."""
    if not right:
        raise NotKnownError
    size = abs(left) // abs(right)
    return size if (left < 0) == (right < 0) else -size


def _power(left: int, right: int) -> int:
    if not 0 <= right <= 64:
        raise NotKnownError
    return int(left**right)


_BINARY: dict[str, tuple[int, Callable[[int, int], int]]] = {  # how tightly each binds
    "||": (1, lambda left, right: bool(left or right)),
    "&&": (2, lambda left, right: bool(left and right)),
    "==": (3, operator.eq),
    "!=": (3, operator.ne),
    "<": (4, operator.lt),
    "<=": (4, operator.le),
    ">": (4, operator.gt),
    ">=": (4, operator.ge),
    "+": (5, operator.add),
    "-": (5, operator.sub),
    "*": (6, operator.mul),
    "/": (6, _divided),
    "%": (6, lambda left, right: left - right * _divided(left, right)),
    "**": (7, _power),
}
_UNARY: dict[str, Callable[[int], int]] = {"-": operator.neg, "+": operator.pos, "!": operator.not_}


def computed(text: str, value_of: Callable[[str], int]) -> int:
    """What an expression is.

    Args:
        text: Of the expression, its $variables filled in.
        value_of: What a bare name stands for; NotKnownError where it is not known.

    Raises:
        NotKnownError: it has no value, assigns, or is beyond 64 bits.
    """
    tokens = _TOKEN.findall(text)
    if "".join(tokens) != "".join(text.split()) or len(tokens) > MOST_TOKENS or "++" in text or "--" in text:
        raise NotKnownError
    tokens.reverse()  # the next is the last
    value = _binary(tokens, value_of, 0) if tokens else 0
    if tokens:
        raise NotKnownError
    return value


def _binary(tokens: list[str], value_of: Callable[[str], int], least: int) -> int:
    """What binds tighter than `least`."""
    left = _single(tokens, value_of)
    while tokens and tokens[-1] in _BINARY and _BINARY[tokens[-1]][0] > least:
        sign = tokens.pop()
        binds, function = _BINARY[sign]
        left = int(function(left, _binary(tokens, value_of, binds - (sign == "**"))))
        if not -_LARGEST <= left < _LARGEST:
            raise NotKnownError
    return left


def _single(tokens: list[str], value_of: Callable[[str], int]) -> int:
    first = tokens.pop() if tokens else ""
    if first in _UNARY:
        return int(_UNARY[first](_single(tokens, value_of)))
    if first == "(":
        value = _binary(tokens, value_of, 0)
        if not tokens or tokens.pop() != ")":
            raise NotKnownError
        return value
    if re.fullmatch(r"0|[1-9]\d{0,17}", first):
        return int(first)
    if not re.match(r"[A-Za-z_]", first):
        raise NotKnownError
    return value_of(first)
