"""adamw-scale probe: the parts of a calibration by hand, for job arrays and for other tools."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adamw_scale.cli.probe_flags import Probing, named_values, probe_options
from adamw_scale.cli.run_flags import Given, run_options, words_from
from adamw_scale.cli.text import say
from adamw_scale.errors import CalibrationError, MissingInputError, SpecError
from adamw_scale.files import write_atomically
from adamw_scale.noun import to_json
from adamw_scale.units import printable

if TYPE_CHECKING:
    from adamw_scale.spec.measurement import ProbeResult

Out = Annotated[str, typer.Option(help="Folder of the calibration, with its probes.jsonl.", metavar="DIR")]
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
            help="At least so many indices; by default as few as train well together.", metavar="N", min=1, max=100_000
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
    from adamw_scale.calibration import plan_stage
    from adamw_scale.probe.job_arrays import PLAN_FILE, command_of, ranges

    stage = plan_stage(out, jobs=jobs, retry_failed=retry_failed, notice=say, **probing)
    if json:
        print(stage.to_json())
    elif stage.complete:
        print("The sweep is complete. Run adamw-scale calibrate with the same options: it trains nothing and fits.")
    else:
        count = f"{stage.probes} probes, {len(stage.indices)} indices ({ranges(stage.indices)})"
        print(f"{count} of {printable(out)}/{PLAN_FILE}. With Slurm:\n\n  {stage.sbatch}\n")
        print(f"Elsewhere, for every index:\n\n  {command_of(Path(stage.plan), 'N')}\n")
        print("When all are done, plan the next stage with this same command.")


@command.command("run")
def run(
    plan: Annotated[str, typer.Option(help="The plan.json that probe plan wrote.", metavar="FILE")],
    index: Annotated[int, typer.Option(help="Which of its cohorts to train, from 0.", metavar="N")],
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
        list[str], typer.Option(help="A column by its name in the file, such as loss=val_loss.", metavar="FIELD=NAME")
    ] = [],  # noqa: B006  # typer reads it and makes a new one for each call
    source: Annotated[
        str, typer.Option(help="What the trainings have in common: model and data, in a word.", metavar="NAME")
    ] = "runs",
    json: Json = False,
) -> None:
    """Take trainings of your own into a calibration's probes.jsonl.

    adamw-scale probe import runs.csv --out mine --samples 50k --batch-size 128 --epochs 4 --column loss=val_loss

    Columns are lr, weight_decay, loss, seed and any run option by its name; the run options say what
    is the same in all rows. A loss that is empty or no number is a run that diverged. Importing rows
    again changes nothing.
    """
    from adamw_scale.calibration import folder_of
    from adamw_scale.probe.exchange import import_csv

    fields = words_from(given)
    done = import_csv(Path(file), folder_of(out), fields, named_values("--column", column), source, say)
    if json:
        print(done.to_json())
    else:
        print(
            f"imported {done.imported} trainings ({done.diverged} diverged); {done.stored_before} were stored already"
        )


@command.command("export")
def export(
    out: Out,
    csv: Annotated[str | None, typer.Option(help="Write this CSV file; - is stdout.", metavar="FILE")] = None,
    optuna: Annotated[
        str | None, typer.Option(help="Add to a study in this storage, such as sqlite:///probes.db.", metavar="URL")
    ] = None,
    study: Annotated[str, typer.Option(help="Name of that study.", metavar="NAME")] = "adamw-scale",
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
    from adamw_scale.calibration import PROBES_FILE, load_results

    results = load_results(out, say)
    if not results:
        raise CalibrationError(f"{out} has no {PROBES_FILE}: pass the --out of a calibration")
    added = None
    if optuna:
        from adamw_scale.probe.exchange import export_to_optuna

        added = export_to_optuna(results, optuna, study)
    if csv:
        _write_csv(results, csv, Path(out))
    if json:
        _print_json("export", probes=len(results), csv=csv, study=study if optuna else None, trials_added=added)
    elif csv != "-":
        said = [
            f"{len(results)} probes in {csv}" if csv else "",
            f"{added} trials added to study {study}" if optuna else "",
        ]
        print(printable("; ".join(filter(None, said))))


def _write_csv(results: "list[ProbeResult]", name: str, folder: Path) -> None:
    from adamw_scale.calibration import CALIBRATION_FILE, COMMAND_FILE, PROBES_FILE
    from adamw_scale.probe.exchange import to_csv
    from adamw_scale.probe.job_arrays import PLAN_FILE

    file = Path(name)
    if name == "-":
        print(to_csv(results), end="")
    elif file.exists() and not file.is_file():
        raise SpecError(f"--csv {name} is not a file: pass a file, or - for stdout")
    elif file.name in (CALIBRATION_FILE, COMMAND_FILE, PROBES_FILE, PLAN_FILE) and _is(file.parent, folder):
        raise SpecError(f"--csv {name} is a file of the calibration itself, which would be lost: pass another name")
    else:
        write_atomically(file, to_csv(results))


def _is(folder: Path, other: Path) -> bool:
    """Whether two paths are of one folder."""
    return folder.resolve() == other.resolve()


def _print_json(name: str, **content: Any) -> None:
    print(to_json({"schema": f"adamw-scale/probe-{name}-report/1", **content}))
