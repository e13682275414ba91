"""The pieces that `schedules` chains, each with its area and the area of its square in closed form.

All run over u in [0, 1], from a to b. `schedules` chains them.
"""

import math
from collections.abc import Callable
from typing import NamedTuple


class Curve(NamedTuple):
    """One piece's multiplier over u in [0, 1], with its integrals from 0 to u, as functions and as Python source."""

    value: Callable[[float], float]
    area: Callable[[float], float]
    area_of_square: Callable[[float], float]
    formula: str

    @property
    def is_straight(self) -> bool:
        """Whether it is a line, as far as two points between its ends tell."""
        first, last = self.value(0.0), self.value(1.0)
        return all(math.isclose(self.value(u), first + u * (last - first), abs_tol=1e-12) for u in (0.25, 0.5))


def level(height: float) -> Curve:
    """Constant."""
    return Curve(lambda u: height, lambda u: height * u, lambda u: height * height * u, f"{height:.8g}")


def line(a: float, b: float) -> Curve:
    """Straight from a to b."""
    if (a, b) == (0, 1):
        return Curve(lambda u: u, lambda u: u * u / 2, lambda u: u**3 / 3, "u")
    return _between(a, b, lambda u: 1 - u, lambda u: u - u * u / 2, lambda u: (1 - (1 - u) ** 3) / 3, "1.0 - u")


def cosine(a: float, b: float) -> Curve:
    """Half a cosine wave from a to b."""
    return _between(
        a,
        b,
        lambda u: 0.5 * (1 + math.cos(math.pi * u)),
        lambda u: u / 2 + math.sin(math.pi * u) / (2 * math.pi),
        lambda u: 3 * u / 8 + math.sin(math.pi * u) / (2 * math.pi) + math.sin(2 * math.pi * u) / (16 * math.pi),
        "0.5 * (1.0 + math.cos(math.pi * u))",
    )


def one_minus_sqrt(a: float, b: float) -> Curve:
    """Steep at first: a + (b - a) * sqrt(u)."""
    return _between(
        a,
        b,
        lambda u: 1 - math.sqrt(u),
        lambda u: u - 2 * u**1.5 / 3,
        lambda u: u - 4 * u**1.5 / 3 + u * u / 2,
        "1.0 - math.sqrt(u)",
    )


def power(a: float, b: float, exponent: float) -> Curve:
    """(1 - u) ** exponent from a to b."""

    def area(of: float) -> Callable[[float], float]:
        return lambda u: (1 - (1 - u) ** (of + 1)) / (of + 1)

    return _between(
        a, b, lambda u: (1 - u) ** exponent, area(exponent), area(2 * exponent), f"(1.0 - u) ** {exponent:.8g}"
    )


def geometric(b: float) -> Curve:
    """b ** u: the same factor every step, from 1 to b; 0 < b < 1."""
    rate = math.log(b)
    return Curve(
        lambda u: math.exp(rate * u),
        lambda u: math.expm1(rate * u) / rate,
        lambda u: math.expm1(2 * rate * u) / (2 * rate),
        f"{b:.8g} ** u",
    )


def inverse_sqrt(growth: float) -> Curve:
    """1 / sqrt(1 + growth * u): falls as one over the square root of the step; growth > 0."""
    return Curve(
        lambda u: 1 / math.sqrt(1 + growth * u),
        lambda u: 2 * (math.sqrt(1 + growth * u) - 1) / growth,
        lambda u: math.log1p(growth * u) / growth,
        f"1.0 / math.sqrt(1.0 + {growth:.8g} * u)",
    )


def _between(
    a: float,
    b: float,
    fall: Callable[[float], float],
    area: Callable[[float], float],
    area_of_square: Callable[[float], float],
    formula: str,
) -> Curve:
    """b + (a - b) * fall(u), where `fall` goes from 1 to 0."""
    d = a - b
    scaled = formula if (a, b) == (1, 0) else f"{b:.8g} + {d:.8g} * ({formula})"
    return Curve(
        lambda u: b + d * fall(u),
        lambda u: b * u + d * area(u),
        lambda u: b * b * u + 2 * b * d * area(u) + d * d * area_of_square(u),
        scaled,
    )
