"""Sweeps are trained, stage by stage, until nothing is missing or the budget is spent."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adamw_scale.calibration.aim import next_probes, target_of
from adamw_scale.calibration.design import Ask, Budget, aimed_at, at_lr, chosen_device, designs, further_lr, run_at
from adamw_scale.calibration.files import (
    CALIBRATION_FILE,
    COMMAND_FILE,
    folder_of,
    load_calibration,
    refuse_newer,
    save_calibration,
)
from adamw_scale.calibration.fitting import fit, optimum_of, same_but_lr, without_decay
from adamw_scale.calibration.trained import difference, other_lr
from adamw_scale.calibration.validate import prediction_for, validation_of
from adamw_scale.errors import CalibrationError, ProbeError
from adamw_scale.files import write_atomically
from adamw_scale.probe.engines import ENGINES
from adamw_scale.probe.engines.engine import Engine, default_jobs, in_cohorts
from adamw_scale.probe.store import PROBES_FILE, ProbeStore, folder_lock
from adamw_scale.probe.sweep import Sweep
from adamw_scale.probe.trackers import open_tracker
from adamw_scale.probe.trackers.background import BackgroundTracker
from adamw_scale.spec.measurement import Calibration, ProbeConfig, ProbeResult
from adamw_scale.spec.run import TrainingRun
from adamw_scale.training.tasks import load_task
from adamw_scale.training.tasks.task import Listener, Task, TaskSource

MOST_FURTHER_LRS = 3


@dataclass(frozen=True)
class Watcher:
    """What a caller may want to hear while probes run; every part is optional."""

    stage: Callable[[list[ProbeConfig], int, int], None] = lambda configs, done, likely: None
    progress: Listener = lambda progress: None
    result: Callable[[ProbeResult], None] = lambda result: None
    notice: Callable[[str], None] = lambda text: None


def calibrate(
    out: str | Path,
    task: str = "char-lm",
    data: str | None = None,
    *,
    task_options: Mapping[str, str] | None = None,
    jobs: int | None = None,
    engine: str | type[Engine] = "processes",
    engine_options: Mapping[str, str] | None = None,
    trackers: Sequence[str] = (),
    wait: bool = False,
    retry_failed: bool = False,
    target: Mapping[str, str | float] | None = None,
    validate: Mapping[str, str | float] | None = None,
    command_line: str | None = None,
    watcher: Watcher = Watcher(),
    **asked: Any,
) -> Calibration:
    """Sweep the timescale with short probe trainings, locate its optimum, write it into a folder.

    Args:
        out: Folder for `probes.jsonl` and `calibration.json`; created if missing, resumed if not.
        task: Name of a probe task, or the user's own, package.module:attribute.
        data: Path of the user's data; None for the task's default.
        task_options: What else the task takes, by name.
        jobs: Cohorts of probes at a time; by default one per usable core, on CUDA one per GPU, on a cluster 8; one for
            a command here.
        engine: Where probes run: a name from `ENGINES`, or an engine class.
        engine_options: What the engine takes, by name.
        trackers: Names from `TRACKERS`, to which results are also logged.
        wait: Wait for another calibration that holds the folder, rather than refuse.
        retry_failed: Run probes again that failed for a reason of their own.
        target: Values of axes, as in `Ask`, of the run that this is for: further seeds go to the scale that tells most
            about it for its cost. By default that of `validate`; without either, seeds go wherever an optimum is vague.
        validate: Values of axes, as in `Ask`, of a larger run at which the prediction is checked by training there.
        command_line: What the user typed, kept in command.txt for the report.
        watcher: Told about stages, progress and results.
        asked: Fields of `Ask`: run, axes, tune_lr, metric, maximize, device, precision, seeds, budget.

    Returns:
        The calibration, as written. Its optimum may be "flat" or "edge": then it is only bounded.

    Raises:
        CalibrationError: the folder cannot be used.
        ProbeError: a probe could not be run, or every first one failed; what was finished is kept.

    Example:
        >>> import adamw_scale, tempfile
        >>> loss = "2 + math.log(1000 * {lr} * {weight_decay}) ** 2 / 100"
        >>> command = f"python -c 'import json, math; print(json.dumps(dict(loss={loss})))'"
        >>> run = {"unit": "samples", "dataset_size": 1e5, "batch_size": 100, "epochs": 4, "peak_lr": 1e-3}
        >>> with tempfile.TemporaryDirectory() as out:
        ...     measured = adamw_scale.calibrate(out, "command", task_options={"command": command}, run=run)
        >>> measured.optima[0].status, round(measured.optima[0].timescale.iters)
        ('located', 1000)
    """
    folder, wanted = folder_of(out), Ask(**asked)
    source = TaskSource(task, data, dict(task_options or {}), str(folder.absolute()))
    trained = load_task(source)
    ask = wanted.on_device(trained)
    sweeps = designs(trained, ask)
    aim = aimed_at(trained, ask, towards) if (towards := target or validate) else None
    if validate:
        run_at(trained, ask, validate)  # refused now rather than when the probes are trained
    start = ENGINES[engine] if isinstance(engine, str) else engine
    if not (elsewhere := start.elsewhere(engine_options or {})):
        trained.require_device(ask.device)
    jobs = jobs or default_jobs(source, ask.device, elsewhere=elsewhere)
    chosen = start(source, jobs, engine_options or {})
    tracking = [open_tracker(name, folder, watcher.notice) for name in trackers]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        refuse_newer(folder)
        with ExitStack() as stack:
            stack.enter_context(folder_lock(folder, wait=wait, notice=watcher.notice))
            store = stack.enter_context(ProbeStore(folder / PROBES_FILE, retry_failed=retry_failed))
            for tracker in tracking:
                stack.enter_context(tracker)
            stack.enter_context(chosen)
            for notice in (*chosen_device(trained, wanted, ask), sweeps[0].data, *store.notices):
                watcher.notice(notice)
            trainer = _Trainer(trained, chosen, jobs, store, tracking, watcher, ask.budget, aim)
            trainer.finish(sweeps)
            if ask.tune_lr:
                sweeps = _followed(trainer, trained, ask, sweeps)
            calibration = fit(sweeps, store.results, tune_lr=ask.tune_lr)
            if target and aim is not None and calibration.located:
                calibration = calibration.model_copy(update={"target": target_of(aim, calibration)})
            if validate and calibration.located:
                calibration = _validated(trainer, trained, ask, calibration, validate)
            store.refuse_changed()
            if _is_of_another_run(folder / CALIBRATION_FILE, sweeps[0]):
                watcher.notice(f"{CALIBRATION_FILE} was of another run and is replaced; its probes are kept")
            save_calibration(calibration, folder)
            if command_line is not None:
                write_atomically(folder / COMMAND_FILE, command_line + "\n", may_hold_secrets=True)
    except OSError as error:
        raise CalibrationError(
            f"--out {out}: {error.strerror or error}. Pass a folder that can be written, on a disk with space"
        ) from None
    return calibration


@dataclass
class _Trainer:
    """Trains what sweeps lack, as long as there is time."""

    task: Task
    engine: Engine
    jobs: int
    store: ProbeStore
    trackers: Sequence[BackgroundTracker]
    watcher: Watcher
    budget: Budget
    aim: TrainingRun | None = None
    started: float = field(default_factory=time.monotonic)
    steps: float = 0.0  # of all probes trained here
    tried: list[ProbeConfig] = field(default_factory=list)  # before the first stage, whose pace they count to
    losses: dict[str, tuple[int, float]] = field(default_factory=dict)  # by what a probe is but for its seed
    repeats: bool = False  # it was said that seeds show no noise
    differs: bool = False  # it was said that the command trains another length
    understood: bool = field(init=False)  # a result of this training is there, or is sure to come

    def __post_init__(self) -> None:
        self.understood = self.task.name != "command"

    def finish(self, sweeps: Sequence[Sweep]) -> None:
        """Train stage after stage, of all sweeps at once, until nothing is missing or the time would run out."""
        while missing := next_probes(sweeps, self.store.results, self.aim):
            if self._too_long(missing):
                self.watcher.notice(
                    f"the budget of time ends here, before {len(missing)} more probes; fitted is what there is"
                )
                return
            seen = [result for sweep in sweeps for result in sweep.seen(self.store.results).values()]
            stored, likely = self.store.results.values(), sum(sweep.search.likely for sweep in sweeps)
            self.understood |= any(r.status != "failed" and r.config.task == missing[0].task for r in stored)
            if not self.understood and len(missing) > 1:
                self._try_out(missing, likely)
                continue
            self.watcher.stage(missing, len(seen) or len(self.tried), likely)
            cohorts = in_cohorts(missing, lambda run: self.task.cohort_limit(run, missing[0].device), self.jobs)
            for results in self.engine.run(cohorts, self.watcher.progress):
                self.store.append(*results)
                self._tell(results)
            self.steps += sum(config.run.total_steps for config in (*missing, *self.tried))
            self.tried.clear()
            _refuse_if_all_failed([self.store.results[config.key] for config in missing], seen)

    def _try_out(self, missing: Sequence[ProbeConfig], likely: int) -> None:
        """Train one probe of a stage, from the middle of the base run's, where training is least likely to break.

        Raises:
            ProbeError: it failed: so would the others, perhaps after hours.
        """
        of_base = [config for config in missing if without_decay(config.run) == without_decay(missing[0].run)]
        first = of_base[len(of_base) // 2]
        self.watcher.notice(f"one probe first; the other {len(missing) - 1} follow when its result is understood")
        self.watcher.stage([first], 0, likely)
        for results in self.engine.run([[first]], self.watcher.progress):
            self.store.append(*results)
            self._tell(results)
        self.tried.append(first)
        result = self.store.results[first.key]
        if result.status == "failed":
            raise ProbeError(
                f"the first probe failed, so the other {len(missing) - 1} were not started: {result.reason}. Mend that "
                "and run the same command again with --retry-failed"
            )
        if line := other_lr(result):
            raise ProbeError(f"the other {len(missing) - 1} probes were not started: {line}")
        self.understood = True

    def _tell(self, results: Sequence[ProbeResult]) -> None:
        for result in results:
            self.watcher.result(result)
            if not self.differs and (line := difference(result)):
                self.differs = True
                self.watcher.notice(line)
            self._note_repeated(result)
            for tracker in self.trackers:
                tracker.result(result)

    def _note_repeated(self, result: ProbeResult) -> None:
        """Say once that two seeds gave one loss, bit for bit: then they show no noise."""
        if self.repeats or result.loss is None or result.config.task["name"] != "command":
            return
        key = result.config.model_copy(update={"seed": 0}).key
        seed, loss = self.losses.setdefault(key, (result.config.seed, result.loss))
        self.repeats = loss == result.loss and seed != result.config.seed
        if self.repeats:
            self.watcher.notice(
                f"seed {result.config.seed} gave the loss of seed {seed} bit for bit: they show no noise, and the "
                "interval is too narrow; write {seed} in the command, or pass --reseed where it trains with torch"
            )

    def _too_long(self, missing: Sequence[ProbeConfig]) -> bool:
        """Whether the next stage would end after the budget, at the pace so far."""
        if self.budget.seconds is None or not self.steps:
            return False
        taken = time.monotonic() - self.started
        return taken * (1 + sum(config.run.total_steps for config in missing) / self.steps) > self.budget.seconds


def _followed(trainer: _Trainer, task: Task, ask: Ask, sweeps: list[Sweep]) -> list[Sweep]:
    """The sweeps, and more at further learning rates while the best one lies at an end."""
    base = sweeps[0]
    for _ in range(MOST_FURTHER_LRS):
        of_lr = [s for s in sweeps if same_but_lr(s.run, base.run)]
        optima = [optimum_of(s.run, list(s.seen(trainer.store.results).values()), s.value) for s in of_lr]
        lr = further_lr(of_lr, [math.inf if o.loss is None else o.loss for o in optima])
        if lr is None:
            break
        sweeps = [*sweeps, at_lr(task, ask, lr, base.most)]
        trainer.finish(sweeps)
    return sweeps


def _validated(
    trainer: _Trainer, task: Task, ask: Ask, calibration: Calibration, larger: Mapping[str, str | float]
) -> Calibration:
    """The calibration with its prediction for a larger run checked there."""
    sweep, predicted = prediction_for(task, ask, calibration, larger)
    trainer.finish([sweep])
    checked = validation_of(sweep, predicted, trainer.store.results)
    if checked is None:
        trainer.watcher.notice(
            "the prediction is not validated: its probes diverged or failed, or the budget ended before them"
        )
    return calibration.model_copy(update={"validation": checked})


def _refuse_if_all_failed(results: Sequence[ProbeResult], before: Sequence[ProbeResult]) -> None:
    """ProbeError where nothing but failed so far: then it is the training that is at fault, not a weight decay."""
    every = [*before, *results]
    if len(every) > 1 and all(result.status == "failed" for result in every):
        raise ProbeError(
            f"all {len(every)} probes failed, the first one so: {every[0].reason}. Mend that and run the same command "
            "again with --retry-failed"
        )


def _is_of_another_run(file: Path, sweep: Sweep) -> bool:
    """Whether a calibration that is about to be replaced was measured on another run."""
    if not file.exists():
        return False
    try:
        return load_calibration(file).optima[0].probed != sweep.run
    except CalibrationError:
        return True
