"""adamw-scale probe: the parts of a calibration by hand, for job arrays and for other tools."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adamw_scale.cli.probe_flags import Probing, named_values, probe_options
from adamw_scale.cli.run_flags import Given, fields_from, run_options
from adamw_scale.cli.text import say
from adamw_scale.errors import CalibrationError, MissingInputError, SpecError
from adamw_scale.files import write_atomically
from adamw_scale.noun import to_json

if TYPE_CHECKING:
    from adamw_scale.probe.job_arrays import ProbePlan
    from adamw_scale.spec.measurement import ProbeResult

Out = Annotated[str, typer.Option("--out", help="Folder of the calibration, with its probes.jsonl.", metavar="DIR")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]

command = typer.Typer(
    help="Single parts of a calibration: job arrays on a cluster, runs of your own in, results out.",
    no_args_is_help=True,
)


@command.command("plan")
@probe_options
def plan(
    probing: Probing,
    out: Out,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            help="At least so many indices; by default as few as train well together.",
            metavar="N",
            min=1,
            max=100_000,
        ),
    ] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Plan probes again that failed.")] = False,
    json: Json = False,
) -> None:
    """Write the next stage's probes as DIR/plan.json, for a job array, and print the line that starts it.

    adamw-scale probe plan --out my-calibration --task vit --data images/ --device cuda

    Takes calibrate's options. When the job array is done, plan the next stage with the same command,
    until it says that the sweep is complete; then calibrate fits it. While indices of a plan are not
    done, planning again keeps their numbers.
    """
    from adamw_scale.calibration import PROBES_FILE, designs
    from adamw_scale.probe.job_arrays import PLAN_FILE, ProbePlan, command_of, ranges, slurm_line
    from adamw_scale.probe.store import ProbeStore, folder_lock
    from adamw_scale.training.tasks import load_task
    from adamw_scale.training.tasks.task import TaskSource

    file = Path(out).absolute() / PLAN_FILE
    source = TaskSource(probing.task, probing.data, dict(probing.task_options), str(file.parent))
    task = load_task(source)
    sweeps = designs(task, probing.ask)
    folder = _folder(out)
    with folder_lock(folder), ProbeStore(folder / PROBES_FILE, retry_failed=retry_failed) as store:
        say(*store.notices)
        missing = [config for sweep in sweeps for config in sweep.missing(store.results)]
        written = (
            _written(
                ProbePlan.of(missing, source, lambda run: task.cohort_limit(run, probing.ask.device), jobs or 1),
                file,
                keep=jobs is None,
            )
            if missing
            else None
        )
    indices = written.waiting(store.results) if written else []
    start = slurm_line(file, indices, probing.ask.device) if indices else None
    if json:
        _print_json("plan", complete=not missing, probes=len(missing), indices=indices, plan=str(file), sbatch=start)
    elif start is None:
        print("The sweep is complete. Run adamw-scale calibrate with the same options: it trains nothing and fits.")
    else:
        count = f"{len(missing)} probes, {len(indices)} indices ({ranges(indices)})"
        print(f"{count} of {out}/{PLAN_FILE}. With Slurm:\n\n  {start}\n")
        print(f"Elsewhere, for every index:\n\n  {command_of(file, 'N')}\n")
        print("When all are done, plan the next stage with this same command.")


def _written(new: "ProbePlan", file: Path, *, keep: bool) -> "ProbePlan":
    """The plan of a stage, written; `keep` the one that is there, whose indices a scheduler may have."""
    from adamw_scale.probe.job_arrays import load_plan

    try:
        old = load_plan(file)
    except CalibrationError:
        old = None
    if keep and old is not None and old.covers(new):
        return old
    write_atomically(file, new.to_json())
    return new


@command.command("run")
def run(
    plan: Annotated[str, typer.Option("--plan", help="The plan.json that probe plan wrote.", metavar="FILE")],
    index: Annotated[int, typer.Option("--index", help="Which of its cohorts to train, from 0.", metavar="N")],
    json: Json = False,
) -> None:
    """Train one cohort of a plan and append its results to the probes.jsonl beside it.

    adamw-scale probe run --plan my-calibration/plan.json --index 3

    Any number may run at once. Probes that are stored already are not trained again, failed ones are.

    Exit status 1 means that a probe failed (one that diverged did not).
    """
    from adamw_scale.calibration import PROBES_FILE
    from adamw_scale.cli.progress import Display
    from adamw_scale.probe.job_arrays import load_plan, train_index
    from adamw_scale.probe.store import ProbeStore

    file = Path(plan)
    planned = load_plan(file)
    cohort = planned.cohort(index)
    with Display() as display, ProbeStore(file.parent / PROBES_FILE, retry_failed=True) as store:
        for notice in store.notices:
            display.notice(notice)
        results = train_index(planned, index, store, display.progress)
        for result in results:
            display.result(result)
    if json:
        told = [{"key": result.key, "status": result.status, "loss": result.loss} for result in results]
        _print_json("run", index=index, trained=len(results), stored_before=len(cohort) - len(results), results=told)
    else:
        print(f"index {index}: trained {len(results)} probes, {len(cohort) - len(results)} were stored already")
    if any(result.status == "failed" for result in results):
        raise typer.Exit(1)


@command.command("import")
@run_options
def import_runs(
    given: Given,
    file: Annotated[str, typer.Argument(help="CSV, one training a row", metavar="FILE.csv")],
    out: Out,
    column: Annotated[
        list[str],
        typer.Option("--column", help="A column by its name in the file, such as loss=val_loss.", metavar="FIELD=NAME"),
    ] = [],  # noqa: B006  # typer reads it and makes a new one for each call
    source: Annotated[
        str,
        typer.Option("--source", help="What the trainings have in common: model and data, in a word.", metavar="NAME"),
    ] = "runs",
    json: Json = False,
) -> None:
    """Take trainings of your own into a calibration's probes.jsonl.

    adamw-scale probe import runs.csv --out mine --samples 50k --batch-size 128 --epochs 4 --column loss=val_loss

    Columns are lr, weight_decay, loss, seed and any run option by its name; the run options say what
    is the same in all rows. A loss that is empty or no number is a run that diverged. Importing rows
    again changes nothing.
    """
    from adamw_scale.calibration import PROBES_FILE
    from adamw_scale.probe.exchange import read_csv, refuse_other_losses
    from adamw_scale.probe.store import ProbeStore

    fields = fields_from({name: value for name, value in given.items() if name != "steps"})
    steps = {"steps": given["steps"]} if "steps" in given else {}
    results = read_csv(Path(file), {**fields, **steps}, named_values("--column", column), source, say)
    folder = _folder(out)
    with ProbeStore(folder / PROBES_FILE) as store:
        say(*store.notices)
        refuse_other_losses(results, store.results)
        new = [result for result in results if result.key not in store.results]
        store.append(*new)
    diverged = sum(result.status == "diverged" for result in new)
    if json:
        _print_json("import", imported=len(new), diverged=diverged, stored_before=len(results) - len(new))
    else:
        print(f"imported {len(new)} trainings ({diverged} diverged); {len(results) - len(new)} were stored already")


@command.command("export")
def export(
    out: Out,
    csv: Annotated[str | None, typer.Option("--csv", help="Write this CSV file; - is stdout.", metavar="FILE")] = None,
    optuna: Annotated[
        str | None,
        typer.Option("--optuna", help="Add to a study in this storage, such as sqlite:///probes.db.", metavar="URL"),
    ] = None,
    study: Annotated[str, typer.Option("--study", help="Name of that study.", metavar="NAME")] = "adamw-scale",
    json: Json = False,
) -> None:
    """Write all probes of a folder as CSV, or into an Optuna study.

    adamw-scale probe export --out my-calibration --csv probes.csv

    adamw-scale probe export --out my-calibration --optuna sqlite:///probes.db
    """
    if not csv and not optuna:
        raise MissingInputError("probe export needs somewhere to write: pass --csv FILE or --optuna URL")
    if csv == "-" and json:
        raise SpecError("--csv - and --json both write to stdout: drop one")
    results = _stored(out)
    added = None
    if optuna:
        from adamw_scale.probe.exchange import export_to_optuna

        added = export_to_optuna(results, optuna, study)
    if csv:
        _write_csv(results, csv)
    if json:
        _print_json("export", probes=len(results), csv=csv, study=study if optuna else None, trials_added=added)
    elif csv != "-":
        said = [
            f"{len(results)} probes in {csv}" if csv else "",
            f"{added} trials added to study {study}" if optuna else "",
        ]
        print("; ".join(filter(None, said)))


def _folder(out: str) -> Path:
    """The folder to write into, created if missing."""
    from adamw_scale.calibration import folder_of

    folder = folder_of(out)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _stored(out: str) -> "list[ProbeResult]":
    from adamw_scale.calibration import PROBES_FILE, folder_of
    from adamw_scale.probe.store import ProbeStore

    folder = folder_of(out)
    file = folder / PROBES_FILE
    if not file.is_file():
        raise CalibrationError(f"{folder} has no {PROBES_FILE}: pass the --out of a calibration")
    with ProbeStore(file, read_only=True) as store:
        say(*store.notices)
    return list(store.results.values())


def _write_csv(results: "list[ProbeResult]", name: str) -> None:
    from adamw_scale.probe.exchange import to_csv

    file = Path(name)
    if name == "-":
        print(to_csv(results), end="")
    elif file.exists() and not file.is_file():
        raise SpecError(f"--csv {name} is not a file: pass a file, or - for stdout")
    else:
        write_atomically(file, to_csv(results))


def _print_json(name: str, **content: Any) -> None:
    print(to_json({"schema": f"adamw-scale/probe-{name}-report/1", **content}))
