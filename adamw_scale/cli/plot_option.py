"""--plot: a command's picture as a file."""

import os
from pathlib import Path
from typing import Annotated

import typer

from adamw_scale.errors import SpecError

PlotOption = Annotated[
    str | None,
    typer.Option("--plot", help="Also draw it into this file: .png, .svg or .pdf (extra report).", metavar="FILE"),
]


def refuse_other_plots(plot: str | None, made: str | None = None) -> None:
    """Refuse a picture that cannot be written before anything takes time; the folder `made` need not be there yet.

    Raises:
        MissingExtraError: the extra is not installed.
        SpecError: a file of another kind, or that cannot be written.
    """
    if plot is None:
        return
    from adamw_scale.report import suffix_of

    suffix_of(plot)
    file, shown = Path(plot), f"--plot {plot[:200]!r}"
    if made is not None and not Path(made).exists() and file.parent.absolute() == Path(made).absolute():
        return
    if not file.parent.is_dir():
        raise SpecError(f"{shown}: there is no folder {str(file.parent)[:200]!r}; make it first")
    if file.is_dir() or not os.access(file.parent, os.W_OK):
        raise SpecError(f"{shown}: it cannot be written. Pass a file in a folder of yours")
