"""Curves and dots in braille, at 80 columns and without colour: what weights remember, and a sweep's losses."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import plotille

if TYPE_CHECKING:
    from adamw_scale.spec.advice import Memory

HEIGHT = 12
WIDTH = 50  # the axis is labelled every ten columns, so at fifths of the run; with it the picture takes 68


def draw_memory(memory: "Memory") -> str:
    """What the weights remember over the run, above the learning rate, on the same axis."""
    top = max(memory.density) or 1.0
    remembered = _chart(memory.progress, tuple(value / top for value in memory.density))
    rate = _chart(memory.progress, memory.lr_multiplier, height=HEIGHT // 2)
    return (
        "  what the final weights remember, by when it was learned (highest = 1)\n"
        + remembered
        + "\n  learning rate over its peak\n"
        + rate
    )


def draw_basin(points: Sequence[tuple[float, float]], metric: str) -> str:
    """Probes as dots: what was measured against log2 of the timescale as a share of the run."""
    x, y = zip(*points, strict=True)
    low, high = math.floor(min(x)), math.ceil(max(x))
    margin = (max(y) - min(y) or 1.0) * 0.05
    figure = _figure("octaves", HEIGHT, digits=4)
    figure.set_x_limits(
        float(low), low + 5 * next(step for step in (0.5, 1.0, 2.0, 4.0, 8.0) if 5 * step >= high - low)
    )
    figure.set_y_limits(min(y) - margin, max(y) + margin)
    figure.scatter(list(x), list(y), marker="o")
    return (
        f"  held-out {metric}, seeds at one level, by the timescale in octaves (0 is the whole run, -1 half of it)\n"
        + str(figure.show())
    )


def _chart(x: tuple[float, ...], y: tuple[float, ...], height: int = HEIGHT) -> str:
    """One curve over the run, from 0 to 1 on both axes."""
    figure = _figure("run", height, digits=2)
    figure.set_x_limits(0.0, 1.0)
    figure.set_y_limits(0.0, 1.2)  # the axis is labelled at every row: by tenths, or fifths
    figure.plot(list(x), list(y))
    return str(figure.show())


def _figure(x_label: str, height: int, digits: int) -> plotille.Figure:
    figure = plotille.Figure()
    figure.width, figure.height = WIDTH, height
    figure.origin = False
    figure.with_colors = False
    figure.x_label, figure.y_label = x_label, ""
    figure.register_label_formatter(float, lambda value, chars, **_: f"{value:.{digits}g}".rjust(chars))
    return figure
