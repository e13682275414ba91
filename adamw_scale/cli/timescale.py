"""adamw-scale timescale: what the final weights of a run remember."""

import math
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from adamw_scale.cli.plot_option import PlotOption, refuse_other_plots
from adamw_scale.cli.run_flags import Given, run_of_any_data, run_options
from adamw_scale.cli.shared import JsonOption, PictureOption, describe_run, describe_timescale, remark
from adamw_scale.cli.text import columns, paragraphs_of, styled
from adamw_scale.errors import MissingInputError
from adamw_scale.units import format_count, format_percent, format_share, format_significant

if TYPE_CHECKING:
    from adamw_scale.spec.advice import Memory
    from adamw_scale.spec.run import Timescale

LARGE_STEP = 0.05  # of a weight removed in one step; above it the closed forms of `theory.window` are coarse
FORGOTTEN = math.exp(-1)  # of the initial weights left, where decay adds up to 1


@run_options
def command(
    given: Given,
    rule: Annotated[
        str | None,
        typer.Option("--rule", help="Without --weight-decay: the rule whose λ to look at.", metavar="NAME"),
    ] = None,
    picture: PictureOption = None,
    plot: PlotOption = None,
    json: JsonOption = False,
) -> None:
    """What the final weights remember: the timescale in three views, its window under the schedule, and a picture.

    adamw-scale timescale --steps 100k --lr 3e-4 --weight-decay 0.1 --schedule cosine --warmup 2%

    adamw-scale timescale --params 1.3B --tokens 26B --batch-size 0.5M --lr 3e-4

    Weights are a moving average of updates; this shows which part of the run they average over. With
    --weight-decay it looks at that value, else at the recommended one.
    """
    run = run_of_any_data(given)
    if run.weight_decay is None and "steps" in given and not {"batch_size", "sequences", "run"} & given.keys():
        raise MissingInputError(
            "there is no weight decay to look at: pass --weight-decay, or the data set and batch to recommend one for"
        )
    refuse_other_plots(plot)
    from adamw_scale.advisor.memory import timescale_of

    memory = timescale_of(run, rule)
    if plot is not None:
        from adamw_scale.report import memory_figure, save

        save(memory_figure(memory), plot)
    if json:
        print(memory.to_json())
        return
    print(render(memory))
    if picture or (picture is None and sys.stdout.isatty()):
        from adamw_scale.cli.curve_chart import draw_memory

        print("\n" + draw_memory(memory))


def render(memory: "Memory") -> str:
    """The three views, then the window, then its quantiles."""
    tau, window, run = memory.timescale, memory.effective_window, memory.run
    origin = "yours" if memory.rule is None else f"recommended by {memory.rule}"
    head = styled(f"timescale {format_count(round(tau.iters))} steps", bold=True)
    rows = {
        "λ": f"{format_significant(memory.weight_decay)} at peak lr {memory.peak_lr:g}, {origin}; PyTorch's convention",
        "run": describe_run(run),
        "timescale": f"{describe_timescale(tau)}, at peak lr",
        "window": _describe_window(window, memory.retention),
        "initial": f"{format_percent(memory.retention)} of the initial weights survive",
    }
    if 1.0 / tau.iters > LARGE_STEP:
        rows["note"] = (
            f"one step at peak removes {format_percent(1.0 / tau.iters)} of a weight, where the closed forms below "
            "are coarse; adamw_scale.theory.coefficients is exact"
        )
    table = columns(
        ("what was learned", "is from the last", "of the run"),
        [
            (format_percent(float(share)), f"{format_count(round(age))} steps", format_percent(age / run.total_steps))
            for share, age in memory.age_quantiles.items()
        ],
    )
    cautions = map(remark, memory.cautions)
    return "\n\n".join([f"{head} at peak learning rate", *cautions, paragraphs_of(rows), table])


def _describe_window(window: "Timescale", retention: float) -> str:
    """How far back the weights remember, under the schedule; the learning rate's fall makes it longer than at peak."""
    if retention > FORGOTTEN:
        return f"all of the run: its decay adds up to {-math.log(retention):.2g}, less than 1"
    return (
        f"counting back from the end, decay adds up to 1 over {format_count(round(window.iters))} steps = "
        f"{format_share(window.run, 'the run')}"
    )
