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
from adamw_scale.rules import RULES, CalibratableRule, regime
from adamw_scale.spec import Calibration, Optimum

PROBES_FILE = "probes.jsonl"
CALIBRATION_FILE = "calibration.json"
MAX_CALIBRATION_BYTES = 1 << 24


@dataclass(frozen=True)
class Watcher:
    """What a caller may want to hear while probes run; every part is optional."""

    stage: Callable[[list[ProbeConfig], int], None] = lambda configs, done: None
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
    _require_torch()
    if not 2 <= seeds <= 100:
        raise SpecError(
            f"seeds = {seeds}: noise is measured between seeds, so at least 2 are needed (at most 100). Change --seeds"
        )
    part = TASKS[task](data)
    probe_run = part.default_run(dict(run))
    return Sweep.model_validate(
        {"task": part.identity(probe_run), "run": probe_run, "device": device, "seeds": tuple(range(seeds))}
    )


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
    sweep = plan(task, data, run=run, device=device, seeds=seeds)
    from adamw_scale.probe.trainer import require_device  # loads torch

    require_device(device)
    jobs = jobs or (1 if device == "cuda" else _usable_cores())
    start = ENGINES[engine] if isinstance(engine, str) else engine
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with ProbeStore(folder / PROBES_FILE) as store, start(TaskSource(task, data), jobs) as running:
            for notice in store.notices:
                watcher.notice(notice)
            while missing := sweep.missing(store.results):
                watcher.stage(missing, len(_used(sweep, store.results)))
                for result in running.run(missing, watcher.progress):
                    store.append(result)
                    watcher.result(result)
            calibration = fit(sweep, store.results)
        write_atomically(folder / CALIBRATION_FILE, calibration.to_json())
    except OSError as error:
        raise CalibrationError(
            f"--out {out}: {error.strerror or error}. Pass a folder that can be written, on a disk with space"
        ) from None
    return calibration


def fit(sweep: Sweep, results: dict[str, ProbeResult]) -> Calibration:
    """Fit a finished sweep: its optimum, and the constants of the rule of its regime."""
    import numpy as np

    from adamw_scale.fitting import fit_basin

    points = [
        (x, seed, loss)
        for seed in sweep.seeds
        for x, loss in sweep.observed(results, seed).items()
        if x in set(sweep.window(results))
    ]
    x, seed, loss = (np.array(column) for column in zip(*points, strict=True))
    basin = fit_basin(x.astype(float), seed.astype(np.int64), loss.astype(float))
    optimum = Optimum(
        run=sweep.run,
        timescale_run=2.0**basin.minimum,
        log2_interval=basin.interval,
        status="edge" if sweep.at_edge(results) else basin.status,
        loss=basin.loss,
    )
    kind = regime(sweep.run)
    constants: dict[str, float] = {}
    if optimum.status == "located":
        rule = cast(CalibratableRule, RULES[kind.default]())
        constants = asdict(cast(Any, rule.fit([optimum])))
    used = _used(sweep, results)
    return Calibration(
        task=sweep.task,
        rule=kind.default,
        constants=constants,
        optima=(optimum,),
        probes={
            "count": len(used),
            "diverged": sum(result.status == "diverged" for result in used),
            "seeds": len(sweep.seeds),
            "device": sweep.device,
            **({"noise": basin.noise} if math.isfinite(basin.noise) else {}),
        },
    )


def _require_torch() -> None:
    if find_spec("torch") is None:
        raise MissingExtraError("torch", "calibrate", "calibrating")


def _used(sweep: Sweep, results: dict[str, ProbeResult]) -> list[ProbeResult]:
    """The stored probes that belong to this sweep; a folder may hold others."""
    same = (sweep.task, sweep.device)
    probed = sweep.run.model_dump(exclude={"weight_decay"})
    return [
        result
        for result in results.values()
        if (result.config.task, result.config.device) == same
        and result.config.seed in sweep.seeds
        and result.config.run.model_dump(exclude={"weight_decay"}) == probed
    ]


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
