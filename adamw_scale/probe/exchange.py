"""Results to and from other tools: runs of your own as CSV in, probes as CSV or an Optuna study out."""

import csv
import io
import json
import math
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import Field

from adamw_scale.errors import CalibrationError, MissingExtraError, MissingInputError, SpecError
from adamw_scale.noun import Noun
from adamw_scale.probe.store import PROBES_FILE, ProbeStore
from adamw_scale.spec.measurement import ProbeConfig, ProbeResult
from adamw_scale.spec.run import SHORTHANDS, WORDS, TrainingRun, described_by, said_over, sized_by_steps
from adamw_scale.units import printable

IMPORTED = "imported"
LARGEST_SEED = 2**31 - 1
MEASURED = ("loss", "seed")
READ = {*TrainingRun.model_fields, *WORDS, *MEASURED} - {"task"}  # a column so named seldom means the kind of run
NO_LOSS = {"", "none", "null", "na", "n/a"}
LR_RANGE, DECAY_RANGE = (1e-12, 10.0), (1e-30, 1e30)


class _Row(NamedTuple):
    """Cells of a CSV row by field, without empty ones, and where it stands."""

    cells: dict[str, str]
    place: str
    columns: Mapping[str, str]

    def fail(self, field: str, message: str) -> SpecError:
        """An error that names the line and, where a column is at fault, the column."""
        column = f", column {self.columns[field]!r}" if field in self.columns else ""
        return SpecError(printable(f"{self.place}{column}: {message}"))


def read_csv(
    path: Path,
    fields: Mapping[str, Any],
    columns: Mapping[str, str],
    source: str,
    notice: Callable[[str], None] = lambda text: None,
) -> list[ProbeResult]:
    """Finished trainings from a CSV file, as results of the task "imported".

    The file has a heading and one training a row: lr, weight_decay, loss, seed (0 where there is no such
    column), and any field of `TrainingRun` but task, or `steps`. A loss that is empty, NaN or infinite is a run that
    diverged; a weight decay of 0 has no finite timescale, so its row is skipped. A row that stands twice counts
    once.

    Args:
        path: The file; its cells are separated by commas, semicolons or tabs.
        fields: Fields of `TrainingRun`, and `steps`, where the file has no column or an empty cell.
        columns: Names of columns by field, where they are called otherwise.
        source: What the runs have in common beyond their fields (model and data); part of every key, so that
            the same runs have the same keys whatever file they come in.
        notice: Told what was ignored or skipped.

    Raises:
        SpecError: the file cannot be read, or a line of it is no training; names line and column.
    """
    task = {"name": IMPORTED, "version": "1", "source": source}
    results: dict[str, ProbeResult] = {}
    places: dict[str, str] = {}
    without_decay = []
    for row in _rows(path, columns, notice):
        run = _run(row, fields)
        if not run.current_weight_decay:
            without_decay.append(row.place.rpartition(" ")[2])
            continue
        result = _result(ProbeConfig(task=task, run=run, seed=_seed(row)), _loss(row))
        first = results.setdefault(result.key, result)
        if not same_loss(first, result):
            raise row.fail(
                "",
                f"repeats {places[result.key]} with another loss: name the column that tells them apart, "
                "--column seed=NAME",
            )
        places.setdefault(result.key, row.place.rpartition(", ")[2])
    if without_decay:
        notice(
            f"{path}: skipped {len(without_decay)} runs without weight decay, whose timescale is infinite (line "
            f"{', '.join(without_decay[:10])}{', ...' if len(without_decay) > 10 else ''})"
        )
    if not results:
        raise SpecError(f"{path}: holds no training with weight decay. Write one a row: lr, weight_decay, loss")
    return list(results.values())


class Imported(Noun):
    """What came of an import: trainings that are new, those of them that diverged, and those that were there."""

    schema_: Literal["adamw-scale/probe-import-report/1"] = Field("adamw-scale/probe-import-report/1", alias="schema")
    imported: int
    diverged: int
    stored_before: int


def import_csv(
    path: Path,
    out: str | Path,
    fields: Mapping[str, Any],
    columns: Mapping[str, str] | None = None,
    source: str = "runs",
    notice: Callable[[str], None] = lambda text: None,
) -> Imported:
    """Take what `read_csv` reads, of the same arguments, into the store of the folder `out`, created if missing.

    Raises:
        CalibrationError: a training is stored already with another loss: one of the two would not count.
    """
    results, folder = read_csv(path, fields, columns or {}, source, notice), Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    with ProbeStore(folder / PROBES_FILE) as store:
        for skipped in store.notices:
            notice(skipped)
        _refuse_other_losses(results, store.results)
        new = [result for result in results if result.key not in store.results]
        store.append(*new)
    diverged = sum(result.status == "diverged" for result in new)
    return Imported(imported=len(new), diverged=diverged, stored_before=len(results) - len(new))


def _refuse_other_losses(results: Iterable[ProbeResult], stored: Mapping[str, ProbeResult]) -> None:
    for result in results:
        before = stored.get(result.key, result)
        if not same_loss(before, result):
            run = result.config.run
            raise CalibrationError(
                f"lr {run.lr:g}, weight decay {run.current_weight_decay:g}, seed {result.config.seed} is stored with "
                f"loss {before.loss}, not {result.loss}: name another experiment with --source, or choose another --out"
            )


def same_loss(one: ProbeResult, other: ProbeResult) -> bool:
    """Whether two results measured the same, as far as a file's digits tell."""
    return one.value == other.value or math.isclose(one.value, other.value, rel_tol=1e-6)


def to_csv(results: Iterable[ProbeResult]) -> str:
    """One result a row, in full precision; `read_csv` reads it back.

    Columns: key, task, status, loss (empty where there is none), seed, lr, weight_decay (PyTorch convention),
    tau_run (fraction of the run), tau_iters (steps), seconds, reason, metric_NAME for every other metric, and
    every field of the runs that is not its default, but for what kind of run it is.
    """
    rows = [_cells(result) for result in results]
    text = io.StringIO(newline="")
    columns = list(dict.fromkeys(column for row in rows for column in row))
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def export_to_optuna(results: Iterable[ProbeResult], storage_url: str, study_name: str) -> int:
    """Add one trial per result to an Optuna study, which is created if missing; those it has are not added again.

    Parameters are weight_decay (PyTorch convention), lr and seed; user attributes key, task, status, tau_run and
    tau_iters. What diverged or failed is a failed trial.

    Returns:
        Number of trials added.

    Raises:
        MissingExtraError: Optuna is not installed.
        CalibrationError: the storage cannot be used, or the study maximizes.
    """
    try:
        import optuna
    except ImportError:
        raise MissingExtraError("optuna", "optuna", "exporting to an Optuna study") from None
    talk = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(
            storage=storage_url, study_name=study_name, direction="minimize", load_if_exists=True
        )
        if study.directions != [optuna.study.StudyDirection.MINIMIZE]:
            raise CalibrationError(f"study {study_name!r} does not minimize one value: pass another --study")
        known = {
            (trial.user_attrs.get("key"), trial.user_attrs.get("status")) for trial in study.get_trials(deepcopy=False)
        }
        trials = [_trial(result) for result in results if (result.key, result.status) not in known]
        study.add_trials(trials)
    except CalibrationError:
        raise
    except Exception as error:  # of whichever database driver the URL names
        reason = (str(error).splitlines() or [""])[0][:200].replace(storage_url, "the URL")
        raise CalibrationError(
            f"the Optuna storage cannot be used ({type(error).__name__}: {reason}): "
            "pass for example --optuna sqlite:///probes.db"
        ) from None
    finally:
        optuna.logging.set_verbosity(talk)
    return len(trials)


def _trial(result: ProbeResult) -> Any:
    """A result as Optuna's frozen trial; ranges are those of every probe, so that all trials have one search space."""
    from optuna.distributions import FloatDistribution, IntDistribution
    from optuna.trial import TrialState, create_trial

    run = result.config.run
    tau = run.timescale_of(run.current_weight_decay)
    return create_trial(
        state=TrialState.COMPLETE if result.status == "done" else TrialState.FAIL,
        value=result.loss,
        params={"weight_decay": run.current_weight_decay, "lr": run.lr, "seed": result.config.seed},
        distributions={
            "weight_decay": FloatDistribution(*DECAY_RANGE, log=True),
            "lr": FloatDistribution(*LR_RANGE, log=True),
            "seed": IntDistribution(0, LARGEST_SEED),
        },
        user_attrs={
            "key": result.key,
            "task": result.config.task.get("name", ""),
            "status": result.status,
            "tau_run": tau.run,
            "tau_iters": tau.iters,
        },
    )


def _cells(result: ProbeResult) -> dict[str, Any]:
    run = result.config.run
    tau = run.timescale_of(run.current_weight_decay)
    own = run.model_dump(mode="json", exclude_defaults=True, exclude={"peak_lr", "weight_decay", "convention", "task"})
    own["betas"] = list(run.betas)  # their default depends on the unit
    return {
        "key": result.key,
        "task": result.config.task.get("name", ""),
        "status": result.status,
        "loss": result.loss,
        "seed": result.config.seed,
        "lr": run.lr,
        "weight_decay": run.current_weight_decay,
        "tau_run": tau.run,
        "tau_iters": tau.iters,
        "seconds": result.seconds,
        "reason": result.reason,
        **{f"metric_{name}": value for name, value in result.metrics.items()},
        **{name: json.dumps(value) if isinstance(value, list) else value for name, value in own.items()},
    }


def _rows(path: Path, columns: Mapping[str, str], notice: Callable[[str], None]) -> Iterator[_Row]:
    """The rows of a file, by field; blank ones are left out."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise SpecError(f"{path} is not a file. Pass a CSV file of trainings")
        with path.open(encoding="utf-8-sig", newline="") as file:
            heading = file.readline()
            file.seek(0)
            reader = csv.reader(file, delimiter=max(",;\t", key=heading.count))
            names = [name.strip() for name in next(reader, [])]
            column = _column_of(path, names, columns)
            if ignored := [name for name in names if name not in column.values()]:
                notice(
                    f"{path}: ignored {len(ignored)} columns ({', '.join(ignored)[:100]}); "
                    "--column FIELD=NAME gives one a meaning"
                )
            for cells in reader:
                if not any(cell.strip() for cell in cells):
                    continue
                place = f"{path}, line {reader.line_num}"
                if len(cells) != len(names):
                    raise SpecError(f"{place}: {len(cells)} cells under a heading of {len(names)}. Mend that line")
                by_name = dict(zip(names, (cell.strip() for cell in cells), strict=True))
                yield _Row({field: by_name[name] for field, name in column.items()}, place, column)
    except (OSError, ValueError, csv.Error) as error:
        reason = (
            "not UTF-8 text" if isinstance(error, UnicodeDecodeError) else getattr(error, "strerror", None) or error
        )
        raise SpecError(f"{path}: {reason}. Pass a readable CSV file of trainings") from None


def _column_of(path: Path, names: list[str], columns: Mapping[str, str]) -> dict[str, str]:
    """The column that each field is read from: the one that was named, or the one of its own name."""
    found: dict[str, str] = {}
    heading = ", ".join(names)[:200] or "no heading"
    for name in names:
        plain = name.lower().replace("-", "_").replace(" ", "_")
        field = SHORTHANDS.get(plain, plain)
        if field in READ and field in found:
            raise SpecError(f"{path}: columns {found[field]!r} and {name!r} are both {field}. Rename one")
        if field in READ:
            found[field] = name
    for given, name in columns.items():
        field = SHORTHANDS.get(given, given)
        if field not in READ:
            raise SpecError(f"--column {given}={name}: {given!r} is no field. Fields are {', '.join(sorted(READ))}")
        if names.count(name) != 1:
            raise SpecError(
                f"--column {given}={name}: {path} has {names.count(name) or 'no'} such columns. It has {heading}"
            )
        found[field] = name
    if "loss" not in found:
        raise SpecError(f"{path} has no column 'loss': name it with --column loss=NAME. It has {heading}")
    return found


def _run(row: _Row, fields: Mapping[str, Any]) -> TrainingRun:
    """The training that a row describes, its decay in PyTorch's convention."""
    own = {field: _value(row, field, cell) for field, cell in row.cells.items() if cell and field not in MEASURED}
    try:
        run = TrainingRun.model_validate(sized_by_steps(said_over(fields, described_by(own))))
        if run.weight_decay is None:
            raise MissingInputError("weight_decay is missing: add the column, or pass --column weight_decay=NAME")
        _ = run.lr
        return run.model_copy(update={"weight_decay": run.current_weight_decay, "convention": "pytorch"})
    except SpecError as error:
        blamed = re.match(r"(?:unknown |--)?([\w-]+)", str(error))
        name = blamed[1].replace("-", "_") if blamed else ""
        raise row.fail(SHORTHANDS.get(name, name), str(error)) from None


def _value(row: _Row, field: str, cell: str) -> Any:
    """A cell as `TrainingRun` takes it; lists are written as JSON."""
    if not cell.startswith("["):
        return cell
    try:
        return json.loads(cell)
    except ValueError:
        raise row.fail(field, f"{cell[:40]!r} is no list: write for example 0.9,0.95") from None


def _seed(row: _Row) -> int:
    cell = row.cells.get("seed") or "0"
    whole = re.fullmatch(r"(\d{1,10})(\.0*)?", cell, re.ASCII)
    if whole is None or int(whole[1]) > LARGEST_SEED:
        raise row.fail("seed", f"{cell[:40]!r} is no seed: write a whole number from 0 to {LARGEST_SEED}")
    return int(whole[1])


def _loss(row: _Row) -> float | None:
    """The loss of a run, None where it diverged."""
    cell = row.cells["loss"]
    if cell.lower() in NO_LOSS:
        return None
    try:
        loss = float(cell)
    except ValueError:
        raise row.fail(
            "loss", f"{cell[:40]!r} is no loss: write a number, or nothing for a run that diverged"
        ) from None
    return loss if math.isfinite(loss) else None


def _result(config: ProbeConfig, loss: float | None) -> ProbeResult:
    status = "diverged" if loss is None else "done"
    return ProbeResult(key=config.key, config=config, status=status, loss=loss, seconds=0.0)
