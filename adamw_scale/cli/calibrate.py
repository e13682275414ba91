"""adamw-scale calibrate: short probe trainings that measure the optimal timescale."""

import shlex
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from adamw_scale.cli.calibration_text import parameters, render
from adamw_scale.cli.plot_option import PlotOption, refuse_other_plots
from adamw_scale.cli.probe_flags import Probing, named_values, probe_options
from adamw_scale.cli.text import say
from adamw_scale.errors import AdamWScaleError, MissingInputError, SpecError
from adamw_scale.units import format_percent

if TYPE_CHECKING:
    from adamw_scale.spec.measurement import Calibration


@probe_options
def command(
    probing: Probing,
    out: Annotated[
        str | None,
        typer.Option(
            help="Folder for probes.jsonl and calibration.json; an interrupted calibration goes on.", metavar="DIR"
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            help="Cohorts of probes at a time; by default 1 a core, 1 a GPU on cuda, 1 of a command, 8 on a cluster.",
            metavar="N",
            min=1,
            max=1024,
        ),
    ] = None,
    engine: Annotated[
        str, typer.Option(help="Where probes run: processes, serial (in this one), ray or slurm.", metavar="NAME")
    ] = "processes",
    engine_option: Annotated[
        list[str], typer.Option(help="Whatever the engine takes, such as partition=gpu.", metavar="NAME=VALUE")
    ] = [],  # noqa: B006  # typer reads it and makes a new one for each call
    track: Annotated[
        list[str], typer.Option(help="Also log results to tensorboard, wandb, mlflow or trackio.", metavar="NAME")
    ] = [],  # noqa: B006  # the same
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait where another calibration holds the folder, rather than refuse.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Run probes again whose command failed or timed out.")
    ] = False,
    target: Annotated[
        str | None,
        typer.Option(
            help="The run this is for, such as 64x (the data) or width=1024: seeds go where they tell most about it.",
            metavar="SCALE",
        ),
    ] = None,
    validate: Annotated[
        str | None,
        typer.Option(
            help="Afterwards train the prediction and its neighbours at a larger run: 16x (the data), width=256.",
            metavar="SCALE",
        ),
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Show what would run and what it costs, and run nothing.")
    ] = False,
    fit_only: Annotated[
        bool, typer.Option("--fit-only", help="Train nothing: fit the probes that --out holds, imported ones too.")
    ] = False,
    picture: Annotated[
        bool | None, typer.Option("--picture/--no-picture", help="Draw the basin; by default on a terminal only.")
    ] = None,
    plot: PlotOption = None,
    json: Annotated[
        bool, typer.Option("--json", help="The calibration (or the plan) as one JSON document on stdout.")
    ] = False,
) -> None:
    """Measure the optimal timescale with short trainings on this machine, 14 to 19 of them by default.

    adamw-scale calibrate --out my-calibration

    adamw-scale calibrate --out scales --task byte-mlp --sizes 8k,32k --validate 16x

    adamw-scale calibrate --out mine --samples 50k --batch-size 128 --epochs 4 --lr 1e-3
    -- python train.py --lr {lr} --wd {weight_decay} --max-steps {steps} --seed {seed}

    adamw-scale calibrate --out bare --samples 50k --batch-size 128 --epochs 4 --lr 1e-3 -- python train.py

    The last one changes nothing in train.py and needs no flag: the weight decay of its torch optimizers
    is set as they step.

    Probes share seeds and differ in weight decay, half octave by half octave around the lowest
    held-out loss. Run options change what the probes train (--lr, --width, --epochs, ...); by default
    that takes about a minute on two cores. Kill it and run it again: it goes on where it was.

    Exit status 1 means that no optimum was located: the loss is flat, or lowest at the edge.
    """
    refuse_other_plots(plot, made=out)
    from adamw_scale.probe.engines import ENGINES
    from adamw_scale.probe.trackers import TRACKERS

    options = named_values("--engine-option", engine_option)
    _ = ENGINES[engine], [TRACKERS[name] for name in track]
    aim, larger = ({} if scale is None else _scale(scale) for scale in (target, validate))
    if plan and fit_only:
        raise SpecError("--plan shows what would be trained and --fit-only trains nothing: drop one of them")
    if plan:
        _show_plan(probing, json)
        return
    if out is None:
        raise MissingInputError("calibrate needs a folder for its results: pass --out DIR (or --plan to run nothing)")
    from adamw_scale.calibration import calibrate as run_calibration
    from adamw_scale.calibration import fit_stored
    from adamw_scale.cli.progress import Display

    if fit_only:
        result = fit_stored(out, say, metric=probing["metric"], maximize=probing["maximize"])
    else:
        with Display() as display:
            result = run_calibration(
                out,
                jobs=jobs,
                engine=engine,
                engine_options=options,
                trackers=track,
                wait=wait,
                retry_failed=retry_failed,
                target=aim,
                validate=larger,
                command_line=shlex.join(["adamw-scale", *sys.argv[1:]]),
                watcher=display.watcher(),
                **probing,
            )
    if json:
        print(result.to_json(indent=2))
    else:
        render(result, out, picture=sys.stdout.isatty() if picture is None else picture)
    if plot is not None:
        _draw(result, out, plot)
    _leave_report(out)
    if not result.located:
        raise typer.Exit(1)


def _draw(calibration: "Calibration", out: str, plot: str) -> None:
    """The base run's basin as a file."""
    from adamw_scale.calibration import load_results, probes_of
    from adamw_scale.report import basin_figure, save

    base, about = calibration.optima[0], calibration.probes
    own = probes_of(calibration, base, load_results(out))
    save(basin_figure(base, own, about.get("metric", "loss"), maximize=about.get("maximize", False)), plot)


def _leave_report(out: str) -> None:
    """report.html in the folder, or one line on why there is none."""
    try:
        from adamw_scale.report import write_report

        say(f"report: {write_report(out)}")
    except (AdamWScaleError, OSError) as error:
        say(f"no report: {error}")


def _scale(text: str) -> dict[str, str]:
    """What --target and --validate name: FIELD=VALUE, or a value of the data set's size."""
    field, equals, value = text.partition("=")
    return {field.replace("-", "_"): value} if equals else {"dataset_size": text}


def _show_plan(probing: Probing, json: bool) -> None:
    from adamw_scale.calibration import plan
    from adamw_scale.training.machine import name_of

    planned = plan(**probing)
    if probing["device"] == "auto" and planned.task["name"] != "command":
        say(name_of(planned.device))
    if json:
        print(planned.to_json())
        return
    for sweep in planned.sweeps:
        run = sweep.run
        size = f"{parameters(run)}{run.dataset_size:g} {run.unit} x {run.epochs:g} epochs"
        print(f"{size}, batch {run.batch_size:g}, lr {run.peak_lr:g}, {run.schedule}")
    flops, more = planned.flops_likely, " and more" if planned.scales else ""
    operations = f", {flops:.2g} floating-point operations in all" if flops else ""
    print(f"{planned.probes_likely} probes likely, of {planned.steps_per_probe} steps each{more}{operations}")
    print(f"that resolves: {planned.resolves}")
    print(planned.sweeps[0].data)
    coarse = ", ".join(format_percent(2.0**x) for x in planned.coarse_log2_tau_run)
    print(f"first: timescales of {coarse} of the run on one seed,")
    print(f"then around the lowest loss on up to {planned.seeds} seeds")
