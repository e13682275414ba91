"""adamw-scale calibrate: short probe trainings that measure the optimal timescale."""

import signal
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from adamw_scale.cli.probe_options import Probing, named_values, probe_options
from adamw_scale.errors import MissingInputError, SpecError
from adamw_scale.units import printable

if TYPE_CHECKING:
    from adamw_scale.spec import Calibration, Optimum, TrainingRun


@probe_options
def calibrate(
    probing: Probing,
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            help="Folder for probes.jsonl and calibration.json; an interrupted calibration goes on.",
            metavar="DIR",
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            help="Batches of probes at a time; by default one per core, on cuda one per GPU, of a command one, on a cluster 8.",
            metavar="N",
            min=1,
            max=1024,
        ),
    ] = None,
    engine: Annotated[
        str,
        typer.Option(
            "--engine", help="Where probes run: processes, serial (in this one), ray or slurm.", metavar="NAME"
        ),
    ] = "processes",
    engine_option: Annotated[
        list[str],
        typer.Option("--engine-option", help="Whatever the engine takes, such as partition=gpu.", metavar="NAME=VALUE"),
    ] = [],  # noqa: B006  # typer reads it and makes a new one for each call
    track: Annotated[
        list[str],
        typer.Option("--track", help="Also log results to tensorboard, wandb, mlflow or trackio.", metavar="NAME"),
    ] = [],  # noqa: B006  # the same
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait where another calibration holds the folder, rather than refuse.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Run probes again whose command failed or timed out.")
    ] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Show what would run and what it costs, and run nothing.")
    ] = False,
    fit_only: Annotated[
        bool, typer.Option("--fit-only", help="Train nothing: fit the probes that --out holds, imported ones too.")
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="The calibration (or the plan) as one JSON document on stdout.")
    ] = False,
) -> None:
    """Measure the optimal timescale with short trainings on this machine, about 20 of them by default.

    adamw-scale calibrate --out my-calibration

    adamw-scale calibrate --out mine --samples 50k --batch-size 128 --epochs 4 --lr 1e-3
    --command "python train.py --lr {lr} --wd {weight_decay} --max-steps {steps} --seed {seed}"

    Probes share seeds and differ in weight decay, half octave by half octave around the lowest
    held-out loss. Run options change what the probes train (--lr, --width, --epochs, ...); by default
    that takes about a minute on two cores. Kill it and run it again: it goes on where it was.

    Exit status 1 means that no optimum was located: the loss is flat, or lowest at the edge.
    """
    from adamw_scale.probe import ENGINES
    from adamw_scale.probe.trackers import TRACKERS

    options = named_values("--engine-option", engine_option)
    _ = ENGINES[engine], [TRACKERS[name] for name in track]
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
        result = fit_stored(out, notice=_say)
    else:
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # preempted or interrupted, it ends in order
        with Display() as display:
            result = run_calibration(
                out,
                probing.task,
                probing.data,
                task_options=probing.task_options,
                run=probing.run,
                device=probing.device,
                precision=probing.precision,
                seeds=probing.seeds,
                jobs=jobs,
                engine=engine,
                engine_options=options,
                trackers=track,
                wait=wait,
                retry_failed=retry_failed,
                watcher=display.watcher(),
            )
    if json:
        print(result.to_json(), end="")
    else:
        _render(result, out)
    if not result.constants:
        raise typer.Exit(1)


def _show_plan(probing: Probing, json: bool) -> None:
    from adamw_scale.calibration import plan
    from adamw_scale.probe.plan import describe_cost
    from adamw_scale.units import format_percent

    seeds, device = probing.seeds, probing.device
    sweep = plan(
        probing.task,
        probing.data,
        task_options=probing.task_options,
        run=probing.run,
        device=device,
        precision=probing.precision,
        seeds=seeds,
    )
    cost, run = describe_cost(sweep), sweep.run
    if json:
        import json as encoder

        document = {
            "schema": "adamw-scale/plan/1",
            "task": sweep.task,
            "device": device,
            "seeds": seeds,
            "coarse_log2_tau_run": sweep.start,
            **cost,
            "run": run.model_dump(mode="json", exclude_none=True),
        }
        print(encoder.dumps(document, allow_nan=False))
        return
    print(
        f"{_parameters(run)}{run.dataset_size:g} {run.unit} x {run.epochs:g} epochs, lr {run.peak_lr:g}, {run.schedule}"
    )
    flops = f", {cost['flops_likely']:.2g} floating-point operations in all" if run.num_params else ""
    print(f"{cost['probes_likely']} probes likely, of {cost['steps_per_probe']} steps each{flops}")
    print(sweep.data)
    print(f"first: timescales of {', '.join(format_percent(2.0**x) for x in sweep.start)} of the run on one seed,")
    print(f"then around the lowest loss on {seeds} seeds")


def _parameters(run: "TrainingRun") -> str:
    return f"{run.num_params:,.0f} parameters, " if run.num_params else ""


def _say(notice: str) -> None:
    print(printable(notice), file=sys.stderr)


def _render(calibration: "Calibration", out: str) -> None:
    from adamw_scale.calibration import CALIBRATION_FILE
    from adamw_scale.rules import RULES
    from adamw_scale.units import format_percent, format_significant

    optimum = calibration.optima[0]
    tau, run = optimum.timescale, optimum.run
    low, high = (2.0**end for end in optimum.log2_interval)
    probes = calibration.probes
    print(
        f"optimum {optimum.status}: {probes['count']} probes, {probes['seeds']} seeds, {_parameters(run)}lr {run.peak_lr:g}"
    )
    if failed := probes.get("failed"):
        _say(f"{failed} probes failed and say nothing about their timescale; run the same command with --retry-failed")
    if optimum.loss is None:
        _say(f"every probe diverged, at any weight decay, at lr {run.peak_lr:g}. Lower --lr, or warm up for longer")
        return
    if optimum.status != "located":
        print(_why_nothing_was_fitted(optimum), file=sys.stderr)
        print(
            "To locate one, train the probes longer on fewer data (--epochs, --dataset-size), or add --seeds.",
            file=sys.stderr,
        )
        return
    published = vars(RULES[calibration.rule]())
    print(
        f"  timescale  {format_percent(tau.run)} of the run (80 % interval {format_percent(low)} to {format_percent(high)}) = {tau.epochs:.3g} epochs"
    )
    print(
        f"  λ          {format_significant(optimum.weight_decay)} for the probed run; held-out loss {optimum.loss:.4f}"
    )
    for name, value in calibration.constants.items():
        print(f"  constant   {calibration.rule} {name} = {value:.3g} (published {published[name]:g})")
    print(f"\nUse it: adamw-scale recommend --calibration {out}/{CALIBRATION_FILE} [run options]")
    print("It holds for runs like the probed one; the further away a run is, the wider its range.")


def _why_nothing_was_fitted(optimum: "Optimum") -> str:
    from adamw_scale.units import format_share, format_significant

    if optimum.status == "flat":
        return "flat: the losses do not tell timescales apart within an octave of the lowest; in this range λ hardly matters"
    tau = optimum.timescale
    end = f"{format_share(tau.run, 'the run')}, λ = {format_significant(optimum.weight_decay)}"
    if tau.run > 1:
        return f"edge: the longest timescale probed was best ({end}); here decay only costs, use none or less than that"
    return f"edge: the shortest timescale probed was best ({end}); the optimum lies at more decay than may be probed"
