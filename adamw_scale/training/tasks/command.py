"""Probes that are runs of the user's own command, in any language, and whether each is done, diverged or failed.

What the command is told is in `commands.template`, what it must print in `commands.output`, and how it is run and
ended in `commands.process`. Here: which command it is, what is asked of the user, and one probe from plan to result.
"""

import hashlib
import json
import math
import os
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from adamw_scale.errors import MissingInputError, ProbeError, SpecError, UnknownNameError
from adamw_scale.files import write_atomically
from adamw_scale.noun import flag
from adamw_scale.spec.measurement import ProbeConfig, ProbeResult
from adamw_scale.spec.run import TrainingRun
from adamw_scale.theory import conventions
from adamw_scale.training.commands.hooked import Hooked, Told
from adamw_scale.training.commands.interpreter import other_python
from adamw_scale.training.commands.metric_pattern import refuse_unusable
from adamw_scale.training.commands.output import HELD_OUT, Printed
from adamw_scale.training.commands.process import Log, execute, how_it_ended
from adamw_scale.training.commands.template import Probe, Template, TemplateFile, whole_steps
from adamw_scale.training.options import number
from adamw_scale.training.tasks.task import Listener, Progress, TaskSource
from adamw_scale.units import format_count, parse_quantity, printable

VERSION = "1"  # raise it when the same command would be run or read differently: stored probes then run again
OPTIONS = (
    "command",
    "template",
    "metric",
    "metric_pattern",
    "mode",
    "timeout",
    "convention",
    "full_dataset_size",
    "reseed",
)
MODES = ("min", "max")
LOGS, RUNS = "logs", "runs"
TEMPLATES = "templates"  # not in the runs' folders, which some trainings want empty
LARGEST_SCRIPT = 1 << 24
ABOVE_0 = 1e-3, 1e18
MEANING_OF_ABSENCE = {
    "lr": "it has no {lr}: its own peak learning rate must be the one of --lr",
    "seed": "it has no {seed}: if it draws the same numbers each time, seeds show no noise and the interval is too "
    "narrow, unless --reseed moves its seeds",
    "weight_decay": "it has no {weight_decay}: that of its torch optimizers is set as they step",
    "steps": "it has neither {steps} nor {epochs}: it must train that long by itself",
}


class CommandTask:
    """Runs a command template once per probe; see `commands.output` for what it must print.

    Options: `command`, the template; `template`, a file with placeholders that it reads; `metric`, its name;
    `metric_pattern`, a regular expression that finds it; `mode`, "min" or "max" (the search then minimises the
    negative); `timeout`, seconds a probe may take; `convention`, what the command means by weight decay, if the run
    does not say; `full_dataset_size`, of which {dataset_fraction} is a part; `reseed`, "yes" to move the seeds of a
    torch training. A command without {weight_decay} has it set in its torch optimizers.

    Raises:
        MissingInputError: no command.
        SpecError: it cannot be cut into arguments, its program was not found, it has an unknown placeholder; an option
            is unknown or not of its kind.
    """

    name: ClassVar[str] = "command"

    def __init__(self, source: TaskSource) -> None:
        source.only(*OPTIONS)
        if source.data is not None:
            raise SpecError(f"task command reads no --data {source.data}: drop it and name the data in --command")
        options = source.options
        file = options.get("template")
        self.template = Template(options.get("command", ""), TemplateFile(file) if file is not None else None)
        self.metric = options.get("metric") or None
        self.pattern = options.get("metric_pattern")
        if self.pattern is not None:
            refuse_unusable(self.pattern)
        self.mode = options.get("mode", "min")
        if self.mode not in MODES:
            raise UnknownNameError("mode", self.mode, MODES)
        seconds = options.get("timeout")
        self.timeout = number("--timeout", seconds, *ABOVE_0, "number of seconds") if seconds is not None else math.inf
        self.reseeds = options.get("reseed") is not None
        if self.reseeds and "seed" in self.template.placeholders:
            raise SpecError(
                "--reseed is for a command that takes no seed, and this one has {seed}: drop one of the two"
            )
        self.convention = options.get("convention")
        full = options.get("full_dataset_size")
        self.full_dataset_size = (
            number("full_dataset_size", full, *ABOVE_0, "number", parse_quantity) if full is not None else None
        )
        self.folder = source.folder

    def default_run(self, overrides: dict[str, Any]) -> TrainingRun:
        """The run as the user describes it, which must be what the command does; nothing is assumed of it.

        Raises:
            MissingInputError: the data set, batch or learning rate is missing, or what a placeholder stands for.
            SpecError: weight_decay was given, or the command's convention cannot be converted to.
        """
        if sys.platform == "win32":
            raise ProbeError("commands as probes need process groups, which this system lacks: run them in WSL")
        lacking = [name for name in ("dataset_size", "batch_size", "peak_lr") if overrides.get(name) is None]
        if lacking:
            flags = ", ".join(flag(TrainingRun, name) for name in lacking)
            raise MissingInputError(f"a command does not say what it trains: {', '.join(lacking)} needed, pass {flags}")
        if overrides.get("weight_decay") is not None:
            raise SpecError("calibrating sets weight_decay itself: drop --weight-decay")
        named = {str(name) for name in (self.convention, overrides.get("convention")) if name is not None}
        if len(named) > 1:
            raise SpecError(f"convention was given twice, as {' and '.join(sorted(named))}: keep one")
        run = TrainingRun.model_validate({**overrides, "convention": next(iter(named), "pytorch")})
        self._rehearse(run)
        return run

    def identity(self, run: TrainingRun) -> dict[str, str]:
        """The command, how it is read, its template and every file that it names: an edited one makes other probes.

        Files are recognised among the arguments, behind a = in them, and as modules behind -m, if they exist in the
        working directory, the program too if it is named by its path; those above 16 MiB by size only. What a script
        imports is not seen.
        """
        given = {"metric": self.metric, "metric_pattern": self.pattern, "full_dataset_size": self.full_dataset_size}
        return {
            "name": self.name,
            "version": VERSION,
            "command_sha256": _sha256(json.dumps(self.template.arguments).encode()),
            "mode": self.mode,
            "convention": run.convention,
            **{name: str(value) for name, value in given.items() if value is not None},
            **{f"file {name}": _content(name) for name in self.template.files()},
            **({} if self.template.takes_weight_decay else {"weight_decay_set_by": "hook"}),
            **({"reseed": "yes"} if self.reseeds else {}),
            **({f"template {file.name}": _sha256(file.content)} if (file := self.template.file) is not None else {}),
        }

    def describe_data(self, run: TrainingRun) -> str:
        """What the command must do, what is read of it, what it does not let us set, and of which Python it is."""
        steps = f"{format_count(whole_steps(run))} steps of {format_count(run.batch_size)} {run.unit}"
        expected = f"{steps}, {run.schedule} schedule"
        read = (self.metric and printable(self.metric)) or f"the one of {', '.join(HELD_OUT)} that it prints, else loss"
        if self.pattern is not None:
            read = f"the last match of {printable(self.pattern)!r}"
        says = [f"probes run {printable(self.template.text)!r}, which must train {expected}; metric: {read}"]
        if self.mode == "max":
            says.append("it is maximised: losses shown are its negative")
        absent = {"lr", "seed", "steps", "weight_decay"} - self.template.placeholders
        if self.reseeds:
            absent.discard("seed")
        if "epochs" in self.template.placeholders:
            absent.discard("steps")
        phrase = "; ".join([*says, *(MEANING_OF_ABSENCE[name] for name in sorted(absent))])
        return "\n".join(filter(None, [phrase, other_python(self.template.arguments[0])]))

    def require_device(self, device: str) -> None:
        """Nothing: where the command computes is its own affair."""

    def cohort_limit(self, run: TrainingRun, device: str) -> int:
        """A command trains one probe."""
        return 1

    def train(self, configs: Sequence[ProbeConfig], listener: Listener) -> list[ProbeResult]:
        """Run the command for each configuration, one after the other.

        Raises:
            ProbeError: the command cannot be started or its log not be written, or it is not the command, with the
                script files, that the probes were planned for.
        """
        if self.folder is None:
            raise ProbeError("a command needs a folder for its logs: pass TaskSource(folder=...)")
        return [self._train(config, listener, Path(self.folder).absolute()) for config in configs]

    def _train(self, config: ProbeConfig, listener: Listener, folder: Path) -> ProbeResult:
        self._refuse_other_commands(config)
        probe = self._probe(config.run, config.task["convention"], config.seed, folder, config.key)
        arguments = self.template.fill(probe)
        hooked = Hooked(
            folder / LOGS / f"{config.key}.hooked",
            None if self.template.takes_weight_decay else self._of_hidden(config.run, config.task["convention"]),
            config.seed if self.reseeds else None,
        )
        steps = whole_steps(config.run)
        printed = Printed(self.metric, steps, lambda step, loss: listener(_news(config, step, loss)), self.pattern)
        started = time.monotonic()
        try:
            self._prepare(probe)
            with Log(folder / LOGS / f"{config.key}.log", arguments) as log:
                status = execute(arguments, log, printed, self.timeout, hooked.start())
                told = hooked.end(config.task["convention"])
                if "output" in self.template.placeholders:
                    printed.read(probe.output)
                if "run_dir" in self.template.placeholders:
                    printed.read_folder(probe.run_dir)
                seconds = time.monotonic() - started
                result = self._result(config, status, printed, told, log, seconds)
                log.close_with(f"{result.status} after {seconds:.1f} s: {result.reason or printed.shown()}")
        except OSError as error:
            raise ProbeError(f"{folder}: {error.strerror or error}. Pass a folder that can be written") from None
        return result

    def _result(
        self, config: ProbeConfig, status: int | None, printed: Printed, told: Told, log: Log, seconds: float
    ) -> ProbeResult:
        name, value, others = printed.measured()
        diverged = not math.isfinite(printed.last_loss) or (value is not None and not math.isfinite(value))
        diverged &= told.complaint is None
        done = status == 0 and value is not None and not diverged and told.complaint is None
        why = told.complaint or printed.complaint()
        if status != 0 and not told.ended_it:
            why = how_it_ended(status, self.timeout)
        raw = {name: value} if value is not None and (name != (self.metric or "loss") or self.mode == "max") else {}
        return ProbeResult(
            key=config.key,
            config=config,
            status="diverged" if diverged else "done" if done else "failed",
            loss=(-value if self.mode == "max" else value) if done and value is not None else None,
            seconds=seconds,
            reason=None if diverged or done else printable(f"{why}; {log.path} ends: {log.last_lines}"),
            curve=tuple(printed.curve),
            metrics={**others, **raw} if done else {},
            machine={"device": config.device, "platform": platform.platform()},
            seen=told.seen or printed.trained.seen(),
        )

    def _probe(self, run: TrainingRun, convention: str, seed: int, folder: Path, key: str) -> Probe:
        return Probe(
            run=run,
            weight_decay=conventions.from_pytorch(convention, run.current_weight_decay, run.setting, match="mass"),
            seed=seed,
            output=folder / LOGS / f"{key}.json",
            run_dir=folder / RUNS / key,
            template=folder / TEMPLATES / key / (self.template.file.name if self.template.file is not None else ""),
            full_dataset_size=self.full_dataset_size,
        )

    def _of_hidden(self, run: TrainingRun, convention: str) -> float:
        """The weight decay of the hidden matrices, which is another than the base value under some parametrizations."""
        hidden = run.current_weight_decay * run.on_hidden.weight_decay
        return conventions.from_pytorch(convention, hidden, run.setting._replace(peak_lr=run.hidden_lr), match="mass")

    def _rehearse(self, run: TrainingRun) -> None:
        """Refuse now what filling in the template would refuse later."""
        decayed = run.model_copy(update={"weight_decay": 0.01 / run.lr, "convention": "pytorch"})
        probe = self._probe(decayed, run.convention, seed=0, folder=Path(), key="")
        self.template.fill(probe)
        if self.template.file is not None:
            self.template.file.fill(probe)
        with_weight_decay(run, probe.weight_decay)

    def _prepare(self, probe: Probe) -> None:
        """Folders that the command may write to, and no result of an earlier attempt."""
        probe.output.parent.mkdir(parents=True, exist_ok=True)
        probe.output.unlink(missing_ok=True)
        if "run_dir" in self.template.placeholders:
            probe.run_dir.mkdir(parents=True, exist_ok=True)
        if self.template.file is not None:
            probe.template.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(probe.template, self.template.file.fill(probe), may_hold_secrets=True)

    def _refuse_other_commands(self, config: ProbeConfig) -> None:
        own = {**self.identity(config.run), "convention": config.task.get("convention", "")}
        changed = sorted(name for name in own.keys() | config.task if own.get(name) != config.task.get(name))
        if changed:
            raise ProbeError(
                f"{', '.join(changed)} in {os.getcwd()} is not what these probes were planned with: run the same "
                "calibration again, which plans anew (a file that the command itself writes belongs in {run_dir})"
            )


def with_weight_decay(run: TrainingRun, weight_decay: float) -> TrainingRun:
    """The run with a weight decay in its own convention, checked as if the user had given it.

    Every other field stays as it is, also where it equals a default: the default betas depend on the unit.

    Raises:
        SpecError: the run cannot have this weight decay.
    """
    return TrainingRun.model_validate({**run.model_dump(), "weight_decay": weight_decay})


def _news(config: ProbeConfig, step: int, loss: float) -> Progress:
    return Progress(config, step, whole_steps(config.run), loss)


def _content(name: str) -> str:
    """Hash of a file, or its size where that would take long."""
    try:
        size = os.path.getsize(name)
        return _sha256(Path(name).read_bytes()) if size <= LARGEST_SCRIPT else f"{size} bytes"
    except OSError as error:
        raise SpecError(f"--command names {name}, which cannot be read ({error.strerror}): make it readable") from None


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
