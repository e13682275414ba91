"""calibrate(): probes on the user's machine and data -> a rule with measured constants.

    task's default run -> Sweep -> probes that are missing -> store -> ... -> fit -> Calibration

The folder is the state: `probes.jsonl` holds every probe that was ever finished there,
`calibration.json` the result. Killed anywhere and started again, the same call gives the same file.
"""

import math
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from adamw_scale.errors import CalibrationError, MissingExtraError, SpecError
from adamw_scale.probe import ENGINES, TASKS
from adamw_scale.probe.engines.engine import Engine, Listener, TaskSource
from adamw_scale.probe.plan import ProbeConfig, ProbeResult, Sweep
from adamw_scale.probe.store import ProbeStore
from adamw_scale.probe.tasks.task import Task
from adamw_scale.rules import RULES, CalibratableRule, regime
from adamw_scale.spec import Calibration, Optimum, TrainingRun

PROBES_FILE = "probes.jsonl"
CALIBRATION_FILE = "calibration.json"
MAX_CALIBRATION_BYTES = 1 << 24


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
    run: Mapping[str, Any] = MappingProxyType({}),
    device: str = "cpu",
    seeds: int = 3,
) -> Sweep:
    """The sweep that `calibrate` would run, without running it.

    Args:
        task: Name of a probe task.
        data: Path of the user's data; None for the task's default.
        run: Fields of `TrainingRun` in which the probes differ from the task's default.
        device: "cpu" or "cuda".
        seeds: Number of common seeds, at least 2.

    Raises:
        MissingExtraError: torch is not installed.
        UnknownNameError: no such task.
        SpecError: the run is one the task cannot train.
    """
    return _design(_task(task, data), run, device, seeds)


def calibrate(
    out: str | Path,
    task: str = "char-lm",
    data: str | None = None,
    *,
    run: Mapping[str, Any] = MappingProxyType({}),
    device: str = "cpu",
    seeds: int = 3,
    jobs: int | None = None,
    engine: str | type[Engine] = "processes",
    watcher: Watcher = Watcher(),
) -> Calibration:
    """Sweep the timescale with short probe trainings, locate its optimum, write it into a folder.

    Args:
        out: Folder for `probes.jsonl` and `calibration.json`; created if missing, resumed if not.
        task: Name of a probe task.
        data: Path of the user's data; None for the task's default.
        run: Fields of `TrainingRun` in which the probes differ from the task's default.
        device: "cpu" or "cuda".
        seeds: Number of common seeds, at least 2.
        jobs: Probes at a time; by default one per usable core, on CUDA one.
        engine: Where probes run: a name from `ENGINES`, or an engine class.
        watcher: Told about stages, progress and results.

    Returns:
        The calibration, as written. Its optimum may be "flat" or "edge": then it has no constants.

    Raises:
        CalibrationError: the folder cannot be used.
        ProbeError: a probe could not be run; what was finished is kept.
    """
    folder = Path(out)
    if folder.exists() and not folder.is_dir():
        raise CalibrationError(f"--out {out} is a file: pass a folder")
    part = _task(task, data)
    sweep = _design(part, run, device, seeds)
    part.require_device(device)
    jobs = jobs or (1 if device == "cuda" else _usable_cores())
    start = ENGINES[engine] if isinstance(engine, str) else engine
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with ProbeStore(folder / PROBES_FILE) as store, start(TaskSource(task, data), jobs) as running:
            for notice in (sweep.data, *store.notices):
                watcher.notice(notice)
            while missing := sweep.missing(store.results):
                watcher.stage(missing, len(sweep.seen(store.results)), sweep.likely_probes)
                for result in running.run(missing, watcher.progress):
                    store.append(result)
                    watcher.result(result)
            calibration = fit(sweep, store.results)
            if _is_of_another_run(folder / CALIBRATION_FILE, sweep):
                watcher.notice(f"{CALIBRATION_FILE} was of another run and is replaced; its probes are kept")
            write_atomically(folder / CALIBRATION_FILE, calibration.to_json())
    except OSError as error:
        raise CalibrationError(
            f"--out {out}: {error.strerror or error}. Pass a folder that can be written, on a disk with space"
        ) from None
    return calibration


def fit(sweep: Sweep, results: Mapping[str, ProbeResult]) -> Calibration:
    """Fit a finished sweep: its optimum, and the constants of the rule of its regime."""
    import numpy as np

    from adamw_scale.fitting import fit_basin

    seen = sweep.seen(results)
    window = set(sweep.window(seen))
    points = [(x, seed, result.value) for (seed, x), result in seen.items() if x in window]
    x, seed, loss = (np.array(column) for column in zip(*points, strict=True))
    basin = fit_basin(x.astype(float), seed.astype(np.int64), loss.astype(float))
    optimum = Optimum(
        run=sweep.run,
        timescale_run=2.0**basin.minimum,
        log2_interval=basin.interval,
        status="edge" if sweep.at_edge(seen) else basin.status,
        loss=basin.loss if math.isfinite(basin.loss) else None,
    )
    rule = calibrated_rule(sweep.run)
    return Calibration(
        task=sweep.task,
        rule=rule.name,
        constants=asdict(cast(Any, rule.fit([optimum]))) if optimum.status == "located" else {},
        optima=(optimum,),
        probes={
            "count": len(seen),
            "diverged": sum(result.status == "diverged" for result in seen.values()),
            "seeds": len(sweep.seeds),
            "device": sweep.device,
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


def _task(name: str, data: str | None) -> Task:
    if find_spec("torch") is None:
        raise MissingExtraError("torch", "calibrate", "calibrating")
    return TASKS[name](data)


def _design(task: Task, run: Mapping[str, Any], device: str, seeds: int) -> Sweep:
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
            "seeds": tuple(range(seeds)),
        }
    )


def _usable_cores() -> int:
    """Cores this process may run on; a container or batch system may grant fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
