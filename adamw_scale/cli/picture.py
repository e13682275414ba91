"""Pictures in the terminal, in braille dots, readable at 80 columns and without colour."""

from typing import TYPE_CHECKING

import plotille

if TYPE_CHECKING:
    from adamw_scale.spec import Memory

HEIGHT = 12
WIDTH = 50  # the axis is labelled every ten columns, so at fifths of the run; with it the picture takes 68


def draw(memory: "Memory") -> str:
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


def _chart(x: tuple[float, ...], y: tuple[float, ...], height: int = HEIGHT) -> str:
    """One curve over the run, from 0 to 1 on both axes."""
    figure = plotille.Figure()
    figure.width, figure.height = WIDTH, height
    figure.origin = False
    figure.with_colors = False
    figure.set_x_limits(0.0, 1.0)
    figure.set_y_limits(0.0, 1.2)  # the axis is labelled at every row: by tenths, or fifths
    figure.x_label, figure.y_label = "run", ""
    figure.register_label_formatter(float, lambda value, chars, **_: f"{value:.2g}".rjust(chars))
    figure.plot(list(x), list(y))
    return str(figure.show())
