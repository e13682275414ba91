"""--plot: a command's picture as a file."""

from typing import Annotated

import typer

PlotOption = Annotated[
    str | None,
    typer.Option("--plot", help="Also draw it into this file: .png, .svg or .pdf (extra report).", metavar="FILE"),
]


def refuse_other_plots(plot: str | None) -> None:
    """SpecError for a file of another kind, MissingExtraError without the extra: before anything takes time."""
    if plot is not None:
        from adamw_scale.report import suffix_of

        suffix_of(plot)
