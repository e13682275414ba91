"""adamw-scale recommend: the advice."""

from typing import Annotated

import typer

from adamw_scale.cli.advice_text import render
from adamw_scale.cli.plot_option import PlotOption, refuse_other_plots
from adamw_scale.cli.run_flags import Given, run_options
from adamw_scale.cli.shared import (
    CalibrationOption,
    JsonOption,
    ReferenceOption,
    RuleOption,
    inputs_from,
    print_snippet,
)


@run_options
def command(
    given: Given,
    rule: RuleOption = None,
    calibration: CalibrationOption = None,
    reference: ReferenceOption = None,
    emit: Annotated[
        str | None,
        typer.Option(
            "--emit", help="Write the answer as this framework's config, as adamw-scale emit does.", metavar="NAME"
        ),
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Also print the sources, the other rules, every caution and the picture.")
    ] = False,
    plot: PlotOption = None,
    json: JsonOption = False,
) -> None:
    """Which weight decay to use for a run: the value, its range, its source, its competitors, its limits.

    adamw-scale recommend --params 1.3B --tokens 26B --batch-size 0.5M --lr 3e-4 --schedule linear

    adamw-scale recommend --reference tuned.toml --tokens 100B --params 3B

    The weight decay is in PyTorch's convention: each step multiplies weights by 1 - lr·λ. Without --lr the
    answer is the product lr·λ, with the learning rates that published laws suggest.
    """
    refuse_other_plots(plot)
    inputs = inputs_from(given, calibration, reference)
    if plot is not None:
        from adamw_scale.report import answer_figure, law_figure, save

        drawn = inputs.recommendation(rule)
        save(law_figure(drawn) if drawn.run.task == "pretraining" else answer_figure(drawn), plot)
    if emit is not None:
        print_snippet(emit, inputs.recommendation(rule), json=json)
        return
    advice = inputs.advice(rule)
    print(advice.to_json() if json else render(advice, explain=explain))
    if advice.doubt is not None:
        raise typer.Exit(1)
