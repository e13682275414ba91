"""A training command with placeholders such as {lr}, and the arguments that it becomes for one probe.

The command is cut into arguments once, as a shell would (`shlex`), and placeholders are replaced inside each argument.
No shell ever sees it: a value cannot become another argument or another command.

A program that reads its settings from a file has a template of that file, of which each probe gets a copy. Braces mean
many things there, so nothing but a known placeholder is replaced, and that only where it is not ${lr} or {{lr}}.
"""

import os
import re
import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from adamw_scale.errors import MissingInputError, SpecError, UnknownNameError
from adamw_scale.files import read_plain
from adamw_scale.noun import flag
from adamw_scale.spec.run import TrainingRun
from adamw_scale.units import format_count

EXAMPLE = "python train.py --lr {lr} --weight-decay {weight_decay} --max-steps {steps} --seed {seed}"
PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


class Probe(NamedTuple):
    """What placeholders stand for; `weight_decay` is in the convention of the command."""

    run: TrainingRun
    weight_decay: float
    seed: int
    output: Path
    run_dir: Path
    template: Path
    full_dataset_size: float | None


def whole_steps(run: TrainingRun) -> int:
    """Optimizer steps of a run as a command counts them: whole, and at least one."""
    return max(1, round(run.total_steps))


def _size(run: TrainingRun, name: str) -> str:
    value = getattr(run, name)
    if value is None:
        raise MissingInputError(f"the run lacks what {{{name}}} stands for: pass {flag(TrainingRun, name)}")
    return str(round(value))


def _fraction(probe: Probe) -> str:
    if probe.full_dataset_size is None:
        raise MissingInputError(
            "{dataset_fraction} stands for a part of an unknown whole: pass --task-option full_dataset_size=N, "
            "or use {dataset_size}"
        )
    if probe.run.dataset_size > probe.full_dataset_size:
        raise SpecError(
            f"dataset_size = {format_count(probe.run.dataset_size)} is more than the full_dataset_size of "
            f"{format_count(probe.full_dataset_size)}: lower --dataset-size"
        )
    return repr(probe.run.dataset_size / probe.full_dataset_size)


def _rate(value: float) -> str:
    """In full precision and always as a float, with the dot without which YAML takes 1e-05 for a word."""
    text = repr(value)
    return text if "." in text else text.replace("e", ".0e")


PLACEHOLDERS: Mapping[str, Callable[[Probe], str]] = {
    "lr": lambda probe: _rate(probe.run.lr),
    "weight_decay": lambda probe: _rate(probe.weight_decay),
    "steps": lambda probe: str(whole_steps(probe.run)),
    "epochs": lambda probe: str(int(probe.run.epochs) if probe.run.epochs.is_integer() else probe.run.epochs),
    "warmup_steps": lambda probe: str(round(probe.run.warmup_share * probe.run.total_steps)),
    "batch_size": lambda probe: _size(probe.run, "batch_size"),
    "seed": lambda probe: str(probe.seed),
    "width": lambda probe: _size(probe.run, "width"),
    "depth": lambda probe: _size(probe.run, "depth"),
    "dataset_size": lambda probe: _size(probe.run, "dataset_size"),
    "dataset_fraction": _fraction,
    "beta1": lambda probe: _rate(probe.run.betas[0]),
    "beta2": lambda probe: _rate(probe.run.betas[1]),
    "output": lambda probe: str(probe.output),
    "run_dir": lambda probe: str(probe.run_dir),
    "template": lambda probe: str(probe.template),
}
IN_FILES = re.compile(rb"(?<![${])\{(" + "|".join(PLACEHOLDERS).encode() + rb")\}")
LARGEST_FILE = 1_000_000  # bytes


class TemplateFile:
    """A text file with placeholders; everything else in it stays as it is, byte for byte.

    Raises:
        SpecError: it is missing, no UTF-8 text, or above 1 MB.
    """

    def __init__(self, path: str) -> None:
        if path == "-":
            raise SpecError("--template -: every probe reads it anew, so it must be a file. Pass its path")
        try:
            self.content = read_plain(path, LARGEST_FILE)
        except SpecError as error:
            raise SpecError(f"--template {error}") from None
        self.name = Path(path).name
        self.placeholders = {match[1].decode() for match in IN_FILES.finditer(self.content)}

    def fill(self, probe: Probe) -> bytes:
        """The file of one probe."""
        values = {name: PLACEHOLDERS[name](probe).encode() for name in self.placeholders}
        return IN_FILES.sub(lambda match: values[match[1].decode()], self.content)


class Template:
    """A command with placeholders, cut into arguments, and the file with placeholders that it reads, if any.

    Example:
        >>> Template("true --wd={weight_decay} '{{x}}'").arguments
        ('true', '--wd={weight_decay}', '{{x}}')
    """

    def __init__(self, command: str, file: TemplateFile | None = None) -> None:
        self.text = command
        self.file = file
        try:
            self.arguments = tuple(shlex.split(command))
        except ValueError as error:
            raise SpecError(f"--command: {str(error).lower()}. Close what was opened, as in {EXAMPLE!r}") from None
        if not self.arguments:
            raise MissingInputError(f"task command needs the command to run: pass --command {EXAMPLE!r}")
        self._own = {name for argument in self.arguments for name in _names(argument)}
        self.placeholders = self._own | (file.placeholders if file is not None else set())
        self.takes_weight_decay = "weight_decay" in self.placeholders
        self._refuse_what_reaches_nobody()
        program = self.arguments[0]
        if shutil.which(program) is None:
            raise SpecError(
                f"--command: {program[:60]!r} is not a program that can be run: check its name, or put its interpreter "
                "before it, as in 'python train.py ...'"
            )

    def _refuse_what_reaches_nobody(self) -> None:
        if self.file is None and "template" in self._own:
            raise SpecError("--command has {template}, the path of a file that is not there: pass --template FILE")
        if self.file is not None and "template" not in self._own:
            raise SpecError(
                f"--command does not read {self.file.name}: write {{template}} where it takes the file's path"
            )
        if self.file is not None and not self.file.placeholders and not self.takes_weight_decay:
            raise SpecError(
                f"--template {self.file.name} has no placeholder: write {{weight_decay}} for the value of weight decay "
                "in it (${weight_decay} and {{weight_decay}} are left as they are)"
            )

    def fill(self, probe: Probe) -> list[str]:
        """The arguments of one probe."""
        values = {name: PLACEHOLDERS[name](probe) for name in self._own}

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
