"""calibrate(): probes on the user's machine and data -> a rule with measured constants.

    task's default run -> Sweep -> probes that are missing -> store -> ... -> fit -> Calibration

The folder is the state: `probes.jsonl` holds every probe that was ever finished there,
`calibration.json` the result. Killed anywhere and started again, the same call gives the same file.
"""

import math
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from adamw_scale.errors import CalibrationError, ProbeError, SpecError
from adamw_scale.probe import ENGINES, load_task
from adamw_scale.probe.engines.engine import Engine, in_batches
from adamw_scale.probe.engines.machine import default_jobs
from adamw_scale.probe.plan import ProbeConfig, ProbeResult, Sweep
from adamw_scale.probe.store import FolderLock, ProbeStore
from adamw_scale.probe.tasks.task import Listener, Task, TaskSource
from adamw_scale.probe.trackers import open_tracker
from adamw_scale.rules import RULES, CalibratableRule, regime
from adamw_scale.spec import Calibration, Optimum, TrainingRun

PROBES_FILE = "probes.jsonl"
CALIBRATION_FILE = "calibration.json"
MAX_CALIBRATION_BYTES = 1 << 24
FITTED_OCTAVES = 1.5  # to either side of the lowest loss, where no sweep says what is near
NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Watcher:
    """What a caller may want to hear while probes run; every part is optional."""

    stage: Callable[[list[ProbeConfig], int, int], None] = lambda configs, done, likely: None
    progress: Listener = lambda progress: None
    result: Callable[[ProbeResult], None] = lambda result: None
    notice: Callable[[str], None] = lambda text: None


def plan(
    task: str = "char-lm",
    data: str | None = None,
    *,
    task_options: Mapping[str, str] = NOTHING,
    run: Mapping[str, Any] = NOTHING,
    device: str = "cpu",
    precision: str = "float32",
    seeds: int = 3,
) -> Sweep:
    """The sweep that `calibrate` would run, without running it.

    Args:
        task: Name of a probe task, or the user's own, package.module:attribute.
        data: Path of the user's data; None for the task's default.
        task_options: What else the task takes, by name.
        run: Fields of `TrainingRun` in which the probes differ from the task's default.
        device: "cpu" or "cuda".
        precision: One of `PRECISIONS`.
        seeds: Number of common seeds, at least 2.

    Raises:
        MissingExtraError: torch is not installed.
        UnknownNameError: no such task.
        SpecError: the run is one the task cannot train.
    """
    return design(load_task(TaskSource(task, data, dict(task_options))), run, device, precision, seeds)


def calibrate(
    out: str | Path,
    task: str = "char-lm",
    data: str | None = None,
    *,
    task_options: Mapping[str, str] = NOTHING,
    run: Mapping[str, Any] = NOTHING,
    device: str = "cpu",
    precision: str = "float32",
    seeds: int = 3,
    jobs: int | None = None,
    engine: str | type[Engine] = "processes",
    engine_options: Mapping[str, str] = NOTHING,
    trackers: Sequence[str] = (),
    wait: bool = False,
    retry_failed: bool = False,
    watcher: Watcher = Watcher(),
) -> Calibration:
    """Sweep the timescale with short probe trainings, locate its optimum, write it into a folder.

    Args:
        out: Folder for `probes.jsonl` and `calibration.json`; created if missing, resumed if not.
        task: Name of a probe task, or the user's own, package.module:attribute.
        data: Path of the user's data; None for the task's default.
        task_options: What else the task takes, by name.
        run: Fields of `TrainingRun` in which the probes differ from the task's default.
        device: "cpu" or "cuda".
        precision: One of `PRECISIONS`.
        seeds: Number of common seeds, at least 2.
        jobs: Batches of probes at a time; by default one per usable core, on CUDA one per GPU, on a cluster 8; one for a command here.
        engine: Where probes run: a name from `ENGINES`, or an engine class.
        engine_options: What the engine takes, by name.
        trackers: Names from `TRACKERS`, to which results are also logged.
        wait: Wait for another calibration that holds the folder, rather than refuse.
        retry_failed: Run probes again that failed for a reason of their own.
        watcher: Told about stages, progress and results.

    Returns:
        The calibration, as written. Its optimum may be "flat" or "edge": then it has no constants.

    Raises:
        CalibrationError: the folder cannot be used.
        ProbeError: a probe could not be run, or every first one failed; what was finished is kept.
    """
    folder = folder_of(out)
    source = TaskSource(task, data, dict(task_options), str(folder.absolute()))
    trained = load_task(source)
    sweep = design(trained, run, device, precision, seeds)
    start = ENGINES[engine] if isinstance(engine, str) else engine
    if not (elsewhere := start.elsewhere(engine_options)):
        trained.require_device(device)
    jobs = jobs or default_jobs(source, device, elsewhere=elsewhere)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            stack.enter_context(FolderLock(folder, wait=wait, notice=watcher.notice))
            store = stack.enter_context(ProbeStore(folder / PROBES_FILE, retry_failed=retry_failed))
            tracking = [stack.enter_context(open_tracker(name, folder, watcher.notice)) for name in trackers]
            running = stack.enter_context(start(source, jobs, engine_options))
            for notice in (sweep.data, *store.notices):
                watcher.notice(notice)
            limit = trained.batch_limit(sweep.run, device)
            while missing := sweep.missing(store.results):
                watcher.stage(missing, len(sweep.seen(store.results)), sweep.likely_probes)
                for results in running.run(in_batches(missing, limit, jobs), watcher.progress):
                    store.append(*results)
                    for result in results:
                        watcher.result(result)
                        for tracker in tracking:
                            tracker.result(result)
                _refuse_if_all_failed([store.results[config.key] for config in missing])
            calibration = fit(sweep, store.results)
            if _is_of_another_run(folder / CALIBRATION_FILE, sweep):
                watcher.notice(f"{CALIBRATION_FILE} was of another run and is replaced; its probes are kept")
            write_atomically(folder / CALIBRATION_FILE, calibration.to_json())
    except OSError as error:
        raise CalibrationError(
            f"--out {out}: {error.strerror or error}. Pass a folder that can be written, on a disk with space"
        ) from None
    return calibration


def folder_of(out: str | Path) -> Path:
    """The folder of a calibration, which need not be there yet.

    Raises:
        CalibrationError: it has no name, or is a file.
    """
    folder = Path(out)
    if not str(out):
        raise CalibrationError("--out '' names no folder: pass one, such as --out my-calibration")
    if folder.exists() and not folder.is_dir():
        raise CalibrationError(f"--out {out} is a file: pass a folder")
    return folder


def _refuse_if_all_failed(results: list[ProbeResult]) -> None:
    """ProbeError where a whole stage failed: then it is the training that is at fault, not a weight decay."""
    if len(results) > 1 and all(result.status == "failed" for result in results):
        raise ProbeError(
            f"all {len(results)} probes of this stage failed, the first one so: {results[0].reason}. Mend that and run the "
            "same command again with --retry-failed"
        )


def fit(sweep: Sweep, results: Mapping[str, ProbeResult]) -> Calibration:
    """Fit a finished sweep: its optimum, and the constants of the rule of its regime."""
    seen = sweep.seen(results)
    window = sweep.window(seen)
    near = [result for (_, x), result in seen.items() if x in window]
    return _calibration(sweep.run, list(seen.values()), near, at_edge=sweep.at_edge(seen))


def fit_stored(folder: str | Path, notice: Callable[[str], None] = lambda text: None) -> Calibration:
    """Fit what a folder holds, whoever trained it, and write it there: the run with most probes, of any design.

    The fit is that of a sweep: on what lies within an octave and a half of the lowest mean loss. Probes that
    failed say nothing about their timescale and are left out.

    Args:
        folder: Of a calibration or an import.
        notice: Told what was skipped.

    Raises:
        CalibrationError: no probes there, or fewer than 4 timescales of any one run.
    """
    file = folder_of(folder) / PROBES_FILE
    if not file.is_file():
        raise CalibrationError(f"{folder} has no {PROBES_FILE}: pass the --out of a calibration or an import")
    with ProbeStore(file, read_only=True) as store:
        stored = list(store.results.values())
        for skipped in store.notices:
            notice(skipped)
    alike: dict[str, list[ProbeResult]] = {}
    for result in stored:
        same = result.config.model_copy(update={"seed": 0, "run": without_decay(result.config.run)})
        alike.setdefault(same.key, []).append(result)
    most = max(alike.values(), key=len, default=[])
    losses: dict[float, list[float]] = {}
    for result in most:
        if result.status == "failed":
            continue
        losses.setdefault(round(result.config.log2_tau, 6), []).append(result.value)
    if len(losses) < 4:
        raise CalibrationError(
            f"{folder}: of {len(stored)} probes at most {len(losses)} timescales are of one run, and a fit needs 4: train "
            "or import runs that differ in weight decay only"
        )
    lowest = min(losses, key=lambda x: sum(losses[x]) / len(losses[x]))
    near = [result for result in most if abs(result.config.log2_tau - lowest) <= FITTED_OCTAVES]
    run = without_decay(most[0].config.run)
    calibration = _calibration(run, most, near, at_edge=lowest in (min(losses), max(losses)))
    write_atomically(Path(folder) / CALIBRATION_FILE, calibration.to_json())
    return calibration


def without_decay(run: TrainingRun) -> TrainingRun:
    """What probes of one sweep have in common."""
    return run.model_copy(update={"weight_decay": None})


def _calibration(run: TrainingRun, seen: list[ProbeResult], near: list[ProbeResult], *, at_edge: bool) -> Calibration:
    """Fit the probes `near` the lowest loss, of all that were `seen`."""
    import numpy as np

    from adamw_scale.fitting import fit_basin

    points = [(result.config.log2_tau, result.config.seed, result.value) for result in near]
    x, seed, loss = (np.array(column) for column in zip(*points, strict=True))
    basin = fit_basin(x.astype(float), seed.astype(np.int64), loss.astype(float))
    optimum = Optimum(
        run=run,
        timescale_run=2.0**basin.minimum,
        log2_interval=basin.interval,
        status="edge" if at_edge and len({result.value for result in seen}) > 1 else basin.status,
        loss=basin.loss if math.isfinite(basin.loss) else None,
    )
    rule = calibrated_rule(run)
    return Calibration(
        task=seen[0].config.task,
        rule=rule.name,
        constants=asdict(cast(Any, rule.fit([optimum]))) if optimum.status == "located" else {},
        optima=(optimum,),
        probes={
            "count": len(seen),
            **{status: sum(result.status == status for result in seen) for status in ("diverged", "failed")},
            "seeds": len({result.config.seed for result in seen}),
            "device": seen[0].config.device,
            **({"noise": basin.noise} if math.isfinite(basin.noise) else {}),
        },
    )


def calibrated_rule(run: TrainingRun) -> CalibratableRule:
    """The rule whose constants probes of such a run measure; SpecError where there is none."""
    name = regime(run).default
    rule = RULES[name]()
    if not hasattr(rule, "fit"):
        raise SpecError(f"rule {name!r} of such a run has nothing to calibrate: probe a pretraining run")
    return cast(CalibratableRule, rule)


def _is_of_another_run(file: Path, sweep: Sweep) -> bool:
    """Whether a calibration that is about to be replaced was measured on another run."""
    if not file.exists():
        return False
    try:
        return load_calibration(file).optima[0].run != sweep.run
    except CalibrationError:
        return True


def design(task: Task, run: Mapping[str, Any], device: str, precision: str, seeds: int) -> Sweep:
    """The sweep of a task, after everything that can be refused beforehand was."""
    if not 2 <= seeds <= 100:
        raise SpecError(
            f"seeds = {seeds}: noise is measured between seeds, so at least 2 are needed (at most 100). Change --seeds"
        )
    probe_run = task.default_run(dict(run))
    calibrated_rule(probe_run)
    return Sweep.model_validate(
        {
            "task": task.identity(probe_run),
            "data": task.describe_data(probe_run),
            "run": probe_run,
            "device": device,
            "precision": precision,
            "seeds": tuple(range(seeds)),
        }
    )


def load_calibration(path: str | Path) -> Calibration:
    """Read calibration.json, or the folder that holds it.

    Raises:
        CalibrationError: missing, not a calibration, or written by another version.
    """
    file = Path(path)
    file = file / CALIBRATION_FILE if file.is_dir() else file
    if not str(path) or not file.is_file():
        raise CalibrationError(f"no calibration at {str(path)!r}: pass the calibration.json that calibrate wrote")
    try:
        if file.stat().st_size > MAX_CALIBRATION_BYTES:
            raise CalibrationError(f"{file} is too large to be a calibration: pass the one that calibrate wrote")
        return Calibration.from_json(file.read_bytes())
    except OSError as error:
        raise CalibrationError(f"{file}: {error.strerror or error}. Pass a readable calibration.json") from None
    except SpecError as error:
        raise CalibrationError(f"{file} is not a calibration: {error}") from None


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that it is either the old one or the whole new one, whenever the process dies."""
    temporary = None
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException as error:
        if temporary is not None:
            os.unlink(temporary)
        if isinstance(error, OSError):  # its name is that of the temporary file, which nobody knows
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise
