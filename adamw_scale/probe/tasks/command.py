"""Probes that are runs of the user's own training command, in any language.

The command is cut into arguments once, as a shell would (`shlex`), and placeholders such as {lr} are replaced inside
each argument. No shell ever sees it: a value cannot become another argument or another command.

What the command says is read from its standard output, and from the {output} file if it has one: every line that is
a JSON object (a file may also hold a single object over many lines). An object with a "step" and a "loss" or
"train_loss" is progress. The metric is that of the last object that holds it: `--metric`, or without one the held-out
loss that was printed (one of `HELD_OUT`), or "loss". NaN and infinity, in any spelling or as null, mean that the probe
diverged. Python's own way of printing a dict is not read: trainers that print one round it to four digits first.

The command runs in the user's folder and environment, in a process group of its own with a guard that ends the group
as soon as this process is gone, even by SIGKILL. Processes that leave the group (`setsid`, torchrun's workers) must
be ended by the one that started them, which is asked with SIGTERM first.
"""

import hashlib
import json
import math
import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from selectors import EVENT_READ, BaseSelector, DefaultSelector
from typing import IO, Any, ClassVar, NamedTuple

from adamw_scale import conventions
from adamw_scale.errors import MissingInputError, ProbeError, SpecError, UnknownNameError
from adamw_scale.noun import flag
from adamw_scale.probe.plan import ProbeConfig, ProbeResult
from adamw_scale.probe.tasks.task import Listener, Progress, TaskSource
from adamw_scale.spec import TrainingRun
from adamw_scale.units import format_count, parse_quantity, printable

VERSION = "1"  # raise it when the same command would be run or read differently: stored probes then run again
EXAMPLE = "python train.py --lr {lr} --weight-decay {weight_decay} --max-steps {steps} --seed {seed}"
OPTIONS = ("command", "metric", "mode", "timeout", "convention", "full_dataset_size")
MODES = ("min", "max")
LOGS, RUNS = "logs", "runs"

HELD_OUT = ("val_loss", "eval_loss", "test_loss")
TRAINING = ("loss", "train_loss")
CURVE_POINTS = 200
LONGEST_LINE = 1 << 20
LARGEST_OUTPUT = 1 << 24  # bytes of an {output} file that are read as one object
LARGEST_SCRIPT = 1 << 24
TAIL = 4096  # bytes of the log that are remembered for its last line
LONGEST_QUOTE = 160

CHUNK = 1 << 16
POLL_SECONDS = 0.2
LINGER_SECONDS = 1.0  # how long the output of an ended command is waited for where another process holds it open
GRACE_SECONDS = 10.0  # between SIGTERM and SIGKILL

MEANING_OF_ABSENCE = {
    "lr": "it has no {lr}: its own peak learning rate must be the one of --lr",
    "seed": "it has no {seed}: if it draws the same numbers every time, seeds show no noise and the interval is too narrow",
    "steps": "it has neither {steps} nor {epochs}: it must train that long by itself",
}
PYTHON_DICT = re.compile(rb"\{\s*'")
NOT_JSON = re.compile(r"([:\[,]\s*)([+-]?)(nan|inf(?:inity)?)\b", re.IGNORECASE)
PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


class CommandTask:
    """Runs a command template once per probe; see the module for what it must print.

    Options: `command`, the template; `metric`, its name; `mode`, "min" or "max" (the search then minimises the
    negative); `timeout`, seconds a probe may take; `convention`, what the command means by weight decay, if the run
    does not say; `full_dataset_size`, of which {dataset_fraction} is a part.

    Raises:
        MissingInputError: no command.
        SpecError: it cannot be cut into arguments, its program was not found, it has an unknown placeholder or no
            {weight_decay}; an option is unknown or not of its kind.
    """

    name: ClassVar[str] = "command"

    def __init__(self, source: TaskSource) -> None:
        source.only(*OPTIONS)
        if source.data is not None:
            raise SpecError(f"task command reads no --data {source.data}: drop it and name the data in --command")
        options = source.options
        self.template = Template(options.get("command", ""))
        self.metric = options.get("metric") or None
        self.mode = options.get("mode", "min")
        if self.mode not in MODES:
            raise UnknownNameError("mode", self.mode, MODES)
        self.timeout = _positive("timeout", options["timeout"], float) if "timeout" in options else math.inf
        self.convention = options.get("convention")
        full = options.get("full_dataset_size")
        self.full_dataset_size = None if full is None else _positive("full_dataset_size", full, parse_quantity)
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
        """The command, how it is read, and every file that it names: an edited script makes other probes.

        Files are recognised among the arguments, behind a = in them, and as modules behind -m, if they exist in the
        working directory, the program too if it is named by its path; those above 16 MiB by size only. What a script
        imports is not seen.
        """
        given = {"metric": self.metric, "full_dataset_size": self.full_dataset_size}
        return {
            "name": self.name,
            "version": VERSION,
            "command_sha256": _sha256(json.dumps(self.template.arguments).encode()),
            "mode": self.mode,
            "convention": run.convention,
            **{name: str(value) for name, value in given.items() if value is not None},
            **{f"file {name}": _content(name) for name in self.template.files()},
        }

    def describe_data(self, run: TrainingRun) -> str:
        """What the command must do, what is read of it, and what it does not let us set."""
        expected = (
            f"{format_count(_steps(run))} steps of {format_count(run.batch_size)} {run.unit}, {run.schedule} schedule"
        )
        read = self.metric or f"the one of {', '.join(HELD_OUT)} that it prints, else loss"
        says = [f"probes run {printable(self.template.text)!r}, which must train {expected}; metric: {read}"]
        if self.mode == "max":
            says.append("it is maximised: losses shown are its negative")
        absent = {"lr", "seed", "steps"} - self.template.placeholders
        if "epochs" in self.template.placeholders:
            absent.discard("steps")
        return "; ".join([*says, *(MEANING_OF_ABSENCE[name] for name in sorted(absent))])

    def require_device(self, device: str) -> None:
        """Nothing: where the command computes is its own affair."""

    def batch_limit(self, run: TrainingRun, device: str) -> int:
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
        printed = Printed(self.metric, _steps(config.run), lambda step, loss: listener(_news(config, step, loss)))
        started = time.monotonic()
        try:
            self._prepare(probe)
            with Log(folder / LOGS / f"{config.key}.log", arguments) as log:
                status = execute(arguments, log, printed, self.timeout)
                if "output" in self.template.placeholders:
                    printed.read(probe.output)
                seconds = time.monotonic() - started
                result = self._result(config, status, printed, log, seconds)
                log.close_with(f"{result.status} after {seconds:.1f} s: {result.reason or printed.shown()}")
        except OSError as error:
            raise ProbeError(f"{folder}: {error.strerror or error}. Pass a folder that can be written") from None
        return result

    def _result(
        self, config: ProbeConfig, status: int | None, printed: "Printed", log: "Log", seconds: float
    ) -> ProbeResult:
        name, value, others = printed.measured()
        diverged = not math.isfinite(printed.last_loss) or (value is not None and not math.isfinite(value))
        done = status == 0 and value is not None and not diverged
        why = printed.complaint() if status == 0 else _how_it_ended(status, self.timeout)
        raw = {name: value} if value is not None and (name != (self.metric or "loss") or self.mode == "max") else {}
        return ProbeResult(
            key=config.key,
            config=config,
            status="diverged" if diverged else "done" if done else "failed",
            loss=(-value if self.mode == "max" else value) if done and value is not None else None,
            seconds=seconds,
            reason=None if diverged or done else printable(f"{why}; {log.path} ends: {log.last_line}"),
            curve=tuple(printed.curve),
            metrics={**others, **raw} if done else {},
            machine={"device": config.device, "platform": platform.platform()},
        )

    def _probe(self, run: TrainingRun, convention: str, seed: int, folder: Path, key: str) -> "Probe":
        return Probe(
            run=run,
            weight_decay=conventions.from_pytorch(convention, run.current_weight_decay, run.setting, match="mass"),
            seed=seed,
            output=folder / LOGS / f"{key}.json",
            run_dir=folder / RUNS / key,
            full_dataset_size=self.full_dataset_size,
        )

    def _rehearse(self, run: TrainingRun) -> None:
        """Refuse now what filling in the template would refuse later."""
        decayed = run.model_copy(update={"weight_decay": 0.01 / run.lr, "convention": "pytorch"})
        probe = self._probe(decayed, run.convention, seed=0, folder=Path(), key="")
        self.template.fill(probe)
        TrainingRun.model_validate({**run.model_dump(exclude_defaults=True), "weight_decay": probe.weight_decay})

    def _prepare(self, probe: "Probe") -> None:
        """Folders that the command may write to, and no result of an earlier attempt."""
        probe.output.parent.mkdir(parents=True, exist_ok=True)
        probe.output.unlink(missing_ok=True)
        if "run_dir" in self.template.placeholders:
            probe.run_dir.mkdir(parents=True, exist_ok=True)

    def _refuse_other_commands(self, config: ProbeConfig) -> None:
        own = {**self.identity(config.run), "convention": config.task.get("convention", "")}
        changed = sorted(name for name in own.keys() | config.task if own.get(name) != config.task.get(name))
        if changed:
            raise ProbeError(
                f"{', '.join(changed)} in {os.getcwd()} is not what these probes were planned with: run the same calibration "
                "again, which plans anew (a file that the command itself writes belongs in {run_dir})"
            )


class Probe(NamedTuple):
    """What placeholders stand for; `weight_decay` is in the convention of the command."""

    run: TrainingRun
    weight_decay: float
    seed: int
    output: Path
    run_dir: Path
    full_dataset_size: float | None


def _steps(run: TrainingRun) -> int:
    return max(1, round(run.total_steps))


def _size(run: TrainingRun, name: str) -> str:
    value = getattr(run, name)
    if value is None:
        raise MissingInputError(f"the command has {{{name}}}, which the run lacks: pass {flag(TrainingRun, name)}")
    return str(round(value))


def _fraction(probe: Probe) -> str:
    if probe.full_dataset_size is None:
        raise MissingInputError(
            "the command has {dataset_fraction}, a part of an unknown whole: pass --task-option full_dataset_size=N, or use "
            "{dataset_size}"
        )
    if probe.run.dataset_size > probe.full_dataset_size:
        raise SpecError(
            f"dataset_size = {format_count(probe.run.dataset_size)} is more than the full_dataset_size of "
            f"{format_count(probe.full_dataset_size)}: lower --dataset-size"
        )
    return repr(probe.run.dataset_size / probe.full_dataset_size)


# Rates are written in full precision and always as a float ("1.0"), counts as whole numbers.
PLACEHOLDERS: Mapping[str, Callable[[Probe], str]] = {
    "lr": lambda probe: repr(probe.run.lr),
    "weight_decay": lambda probe: repr(probe.weight_decay),
    "steps": lambda probe: str(_steps(probe.run)),
    "epochs": lambda probe: str(int(probe.run.epochs) if probe.run.epochs.is_integer() else probe.run.epochs),
    "warmup_steps": lambda probe: str(round(probe.run.warmup_share * probe.run.total_steps)),
    "batch_size": lambda probe: _size(probe.run, "batch_size"),
    "seed": lambda probe: str(probe.seed),
    "width": lambda probe: _size(probe.run, "width"),
    "depth": lambda probe: _size(probe.run, "depth"),
    "dataset_size": lambda probe: _size(probe.run, "dataset_size"),
    "dataset_fraction": _fraction,
    "beta1": lambda probe: repr(probe.run.betas[0]),
    "beta2": lambda probe: repr(probe.run.betas[1]),
    "output": lambda probe: str(probe.output),
    "run_dir": lambda probe: str(probe.run_dir),
}


class Template:
    """A command with placeholders, cut into arguments.

    Example:
        >>> Template("true --wd={weight_decay} '{{x}}'").arguments
        ('true', '--wd={weight_decay}', '{{x}}')
    """

    def __init__(self, command: str) -> None:
        self.text = command
        try:
            self.arguments = tuple(shlex.split(command))
        except ValueError as error:
            raise SpecError(f"--command: {str(error).lower()}. Close what was opened, as in {EXAMPLE!r}") from None
        if not self.arguments:
            raise MissingInputError(f"task command needs the command to run: pass --command {EXAMPLE!r}")
        self.placeholders = {name for argument in self.arguments for name in _names(argument)}
        if "weight_decay" not in self.placeholders:
            raise SpecError("--command has no {weight_decay}: put it where your program takes weight decay")
        program = self.arguments[0]
        if shutil.which(program) is None:
            raise SpecError(
                f"--command: {program[:60]!r} is not a program that can be run: check its name, or put its interpreter "
                "before it, as in 'python train.py ...'"
            )

    def fill(self, probe: Probe) -> list[str]:
        """The arguments of one probe."""
        values = {name: PLACEHOLDERS[name](probe) for name in self.placeholders}

        def value(match: re.Match[str]) -> str:
            return values[match[1]] if match[1] is not None else match[0][0]

        return [PLACEHOLDER.sub(value, argument) for argument in self.arguments]

    def files(self) -> list[str]:
        """The files that the command names, relative to the working directory."""
        named = [*self.arguments, *(argument.partition("=")[2] for argument in self.arguments)]
        modules = [after for option, after in zip(self.arguments, self.arguments[1:], strict=False) if option == "-m"]
        named += [module.replace(".", "/") + ".py" for module in modules]
        return sorted({name for name in named if os.path.isfile(name)})


def _names(argument: str) -> Iterator[str]:
    """The placeholders of an argument; SpecError for an unknown one, and for a brace that opens or closes nothing."""
    for match in PLACEHOLDER.finditer(argument):
        if match[0] in ("{", "}"):
            raise SpecError(
                f"--command: {match[0]!r} in {argument[:60]!r} stands alone: write {match[0] * 2} for a brace"
            )
        if match[1] is None:
            continue
        if match[1] not in PLACEHOLDERS:
            error = UnknownNameError("placeholder", match[1], PLACEHOLDERS)
            raise SpecError(f"--command: {error}. For braces of your own write {{{{ and }}}}")
        yield match[1]


class Printed:
    """What a command said, line by line, of which the little that matters is kept.

    `heard` is told about training losses, at most `CURVE_POINTS` times over `steps`.
    """

    def __init__(self, metric: str | None, steps: int, heard: Callable[[int, float], None]) -> None:
        self.metric = metric
        self.steps = steps
        self.heard = heard
        self.curve: list[tuple[int, float]] = []
        self.last_loss = 0.0
        self._names = {metric} if metric not in (None, "loss") else {"loss", *HELD_OUT}
        self._results: dict[str, dict[str, Any]] = {}
        self._training: dict[str, dict[str, Any]] = {}
        self._python_dicts = False
        self._rest = bytearray()
        self._point = -1

    def feed(self, chunk: bytes) -> None:
        """Take in output as it comes, in pieces of any size; lines above 1 MiB are passed over."""
        self._rest += chunk
        if b"\n" in chunk:
            *lines, rest = self._rest.split(b"\n")
            for line in lines:
                self._line(bytes(line))
            self._rest = rest
        if len(self._rest) > LONGEST_LINE:
            self._rest[LONGEST_LINE + 1 :] = b""

    def end(self) -> None:
        """The output ended, perhaps without a newline."""
        self._line(bytes(self._rest))
        self._rest.clear()

    def read(self, file: Path) -> None:
        """Take in a file that holds a JSON object, or one on each line; a missing file says nothing."""
        if not file.is_file():
            return
        if file.stat().st_size <= LARGEST_OUTPUT and (content := _parsed(file.read_bytes())) is not None:
            self._take(content)
            return
        with file.open("rb") as lines:
            while chunk := lines.read(CHUNK):
                self.feed(chunk)
        self.end()

    def measured(self) -> tuple[str, float | None, dict[str, float]]:
        """Name and value of the metric (None where there is none), and every other number printed beside it."""
        name, found = self._chosen()
        if found is None:
            return name, None, {}
        numbers = {other: _number(value) for other, value in found.items() if other != name}
        others = {other: value for other, value in numbers.items() if value is not None and math.isfinite(value)}
        return name, _number(found[name]), others

    def shown(self) -> str:
        """The metric for people."""
        name, value, _ = self.measured()
        return f"{name} {value!r}" if value is not None else f"training loss {self.last_loss!r}"

    def complaint(self) -> str:
        """Why there is no metric."""
        several = [name for name in HELD_OUT if name in self._results]
        if len(several) > 1 and self.metric is None:
            return f"it printed {' and '.join(several)}: choose with --metric"
        if self._training and self.metric is None:
            return (
                'it printed losses of training steps only: print {"loss": ...} of held-out data at its end, or pass '
                "--metric loss to take the last of them"
            )
        if self._python_dicts:
            return "it printed Python dicts, whose numbers may be rounded: print(json.dumps(...)) them"
        return f"it printed no line that is a JSON object with {self.metric or 'loss'!r}: print one, or change --metric"

    def _chosen(self) -> tuple[str, dict[str, Any] | None]:
        """A metric that was asked for; else the held-out loss, if there is one; else "loss", if it is not of a step."""
        if self.metric is not None and (found := self._results.get(self.metric) or self._training.get(self.metric)):
            return self.metric, found
        held_out = [name for name in HELD_OUT if name in self._results]
        if len(held_out) == 1 and self.metric in (None, "loss"):
            return held_out[0], self._results[held_out[0]]
        if not held_out and self.metric is None:
            return "loss", self._results.get("loss")
        return self.metric or "loss", None

    def _line(self, line: bytes) -> None:
        line = line.rstrip(b"\r").rsplit(b"\r", 1)[-1]  # what a progress bar wrote over is gone
        if len(line) <= LONGEST_LINE and (content := _parsed(line)) is not None:
            self._take(content)
        elif PYTHON_DICT.match(line):
            self._python_dicts = True

    def _take(self, content: dict[str, Any]) -> None:
        """Note an object. A null beside a step means not measured; elsewhere it is how NaN is written."""
        step = _number(content["step"]) if content.get("step") is not None else None
        present = {name: value for name, value in content.items() if value is not None or step is None}
        loss = next((_number(present[name]) for name in TRAINING if name in present), None)
        kept = self._results
        if step is not None and math.isfinite(step) and loss is not None:
            self._progress(int(step), loss)
            kept = self._training
        for name in self._names & present.keys():
            if _number(present[name]) is not None:
                (kept if name in TRAINING else self._results)[name] = content

    def _progress(self, step: int, loss: float) -> None:
        self.last_loss = loss
        point = min(CURVE_POINTS, step * CURVE_POINTS // self.steps)
        if point > self._point:
            self._point = point
            self.heard(min(step, self.steps), loss)
            if math.isfinite(loss):
                self.curve.append((step, loss))


def _parsed(text: bytes) -> dict[str, Any] | None:
    """A JSON object, with nan and inf as other languages print them; None for anything else."""
    text = text.strip()
    if not (text.startswith(b"{") and text.endswith(b"}")):
        return None
    decoded = text.decode(errors="replace")
    for candidate in (decoded, NOT_JSON.sub(lambda match: f"{match[1]}NaN", decoded)):
        try:
            content = json.loads(candidate)
        except (ValueError, RecursionError):
            continue
        return content if isinstance(content, dict) else None
    return None


def _number(value: Any) -> float | None:
    """A JSON value as a number: null and the words for it are NaN, other text and containers are none."""
    if value is None or (isinstance(value, str) and value.lower().lstrip("+-") in ("nan", "inf", "infinity")):
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf


class Log:
    """A probe's output as it comes, appended to a file that is never read back; a context manager."""

    def __init__(self, path: Path, arguments: Sequence[str]) -> None:
        self.path = path
        self._tail = b""
        self._file: IO[bytes] = path.open("ab", buffering=0)
        self._file.write(f"$ {shlex.join(arguments)}\n".encode(errors="surrogateescape"))

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, chunk: bytes) -> None:
        """Append output."""
        self._file.write(chunk)
        self._tail = (self._tail + chunk)[-TAIL:]

    def close_with(self, note: str) -> None:
        """Append what came of it, on a line of its own."""
        gap = "" if not self._tail or self._tail.endswith(b"\n") else "\n"
        self._file.write(f"{gap}adamw-scale: {note}\n".encode(errors="surrogateescape"))

    @property
    def last_line(self) -> str:
        """The last line that is not blank, printable and shortened."""
        lines = [line for line in self._tail.decode(errors="replace").splitlines() if line.strip()]
        return printable(lines[-1])[-LONGEST_QUOTE:] if lines else "it printed nothing"


# The guard leads the command's process group. It waits for its parent, this process, to go, and then ends the group.
GUARD = f"""
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.read(0, 1)
os.killpg(0, signal.SIGTERM)
time.sleep({GRACE_SECONDS})
os.killpg(0, signal.SIGKILL)
"""


def execute(arguments: Sequence[str], log: Log, printed: Printed, timeout: float) -> int | None:
    """Run a command to its end; whatever happens here, nothing of its process group is left.

    Returns:
        Its exit status, the negative of a signal that ended it, or None where the time ran out.

    Raises:
        ProbeError: it cannot be started.
    """

    def heard(chunk: bytes) -> None:
        log.write(chunk)
        printed.feed(chunk)

    with _running(arguments) as (process, group), DefaultSelector() as selector:
        for pipe, hear in ((process.stdout, heard), (process.stderr, log.write)):
            assert pipe is not None
            selector.register(pipe, EVENT_READ, hear)
        ended = _listen(process, selector, time.monotonic() + timeout)
        if not ended:
            _signal(group, signal.SIGTERM)
            _listen(process, selector, time.monotonic() + GRACE_SECONDS)
    printed.end()
    return process.returncode if ended else None


@contextmanager
def _running(arguments: Sequence[str]) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A started command and its process group, which is ended with the block."""
    pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
    with ExitStack() as stack:
        watch = [sys.executable, "-I", "-S", "-c", GUARD]
        guard = stack.enter_context(_start(watch, stdin=pipe, stdout=nothing, stderr=nothing, process_group=0))
        stack.callback(_kill, guard, guard.pid)
        process = stack.enter_context(
            _start(arguments, stdin=nothing, stdout=pipe, stderr=pipe, process_group=guard.pid, bufsize=0)
        )
        stack.callback(_kill, process, guard.pid)
        stack.callback(_ask_to_end, process, guard.pid)
        yield process, guard.pid


def _start(arguments: Sequence[str], **how: Any) -> subprocess.Popen[bytes]:
    """A process in the user's environment; a Python in it prints what it says at once."""
    try:
        return subprocess.Popen(arguments, env={"PYTHONUNBUFFERED": "1", **os.environ}, **how)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ProbeError(f"{arguments[0]!r} cannot be started: {reason}. Change --command") from None


def _ask_to_end(process: subprocess.Popen[bytes], group: int) -> None:
    if process.poll() is None:
        _signal(group, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS)


def _kill(process: subprocess.Popen[bytes], group: int) -> None:
    _signal(group, signal.SIGKILL)
    process.wait()


def _signal(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):  # it is gone, or all that is left of it is unreaped
        os.killpg(group, number)


def _listen(process: subprocess.Popen[bytes], selector: BaseSelector, deadline: float) -> bool:
    """Pass on output until the command ends (True) or the deadline, of the monotonic clock, is reached.

    A process that it left behind may hold the pipes open; that one is not waited for.
    """
    ended = False
    while selector.get_map() and time.monotonic() < deadline:
        if not ended and process.poll() is not None:
            ended, deadline = True, min(deadline, time.monotonic() + LINGER_SECONDS)
        for key, _ in selector.select(min(POLL_SECONDS, max(0.0, deadline - time.monotonic()))):
            chunk = os.read(key.fd, CHUNK)
            key.data(chunk)
            if not chunk:
                selector.unregister(key.fileobj)
    with suppress(subprocess.TimeoutExpired):
        process.wait(max(0.0, deadline - time.monotonic()))
    return process.poll() is not None


def _how_it_ended(status: int | None, timeout: float) -> str:
    """A status that is not success, for people."""
    if status is None:
        return f"it took longer than --timeout {timeout:g} (seconds)"
    if status > 0:
        return f"exit status {status}"
    with suppress(ValueError):
        name = signal.Signals(-status).name
        return f"killed by {name}" + (", perhaps for want of memory" if name == "SIGKILL" else "")
    return f"killed by signal {-status}"


def _news(config: ProbeConfig, step: int, loss: float) -> Progress:
    return Progress(config, step, _steps(config.run), loss)


def _content(name: str) -> str:
    """Hash of a file, or its size where that would take long."""
    try:
        size = os.path.getsize(name)
        return _sha256(Path(name).read_bytes()) if size <= LARGEST_SCRIPT else f"{size} bytes"
    except OSError as error:
        raise SpecError(f"--command names {name}, which cannot be read ({error.strerror}): make it readable") from None


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _positive(name: str, text: str, read: Callable[[str], float]) -> float:
    try:
        value = read(text)
    except (ValueError, SpecError):
        value = 0.0
    if not 0 < value < math.inf:
        raise SpecError(f"{name} = {text[:60]!r}: it must be a number above 0. Write for example 600")
    return value
