"""The options that say what probes train, shared by the commands that plan or run them."""

import functools
import inspect
import shlex
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adamw_scale.cli.run_flags import Given, fields_from, run_options
from adamw_scale.cli.shared import behind_dashes
from adamw_scale.errors import MissingInputError, SpecError, UnknownNameError
from adamw_scale.spec.measurement import DEVICES, PRECISIONS

if TYPE_CHECKING:
    from adamw_scale.calibration.design import Budget

DEFAULT_TASK = "char-lm"
COMMAND = "'python train.py --lr {lr} --wd {weight_decay} --steps {steps} --seed {seed}'"
RESULT = (
    "It prints its held-out result as a JSON line with val_loss, eval_loss, test_loss or loss (or what --metric "
    "names), or writes it to {output}. Without one, it is read of trainer_state.json in {run_dir}, else of what "
    "nanoGPT, transformers, Keras or Lightning print, else of event files in {run_dir}. One probe is tried first."
)
AXIS_OPTIONS = {"sizes": "dataset_size", "widths": "width", "batches": "batch_size", "epoch_counts": "epochs"}

Probing = dict[str, Any]  # what `calibrate`, `plan` and `plan_stage` take: task, data, task_options and what is asked

# Type, default, metavar and help of each option.
OPTIONS: dict[str, tuple[Any, Any, str | None, str]] = {
    "task": (
        str,
        DEFAULT_TASK,
        "NAME",
        "What probes train: char-lm, byte-mlp, mlp, vit, resnet, or your own package.module:attribute.",
    ),
    "command": (
        str | None,
        None,
        "COMMAND",
        f"Your training script instead: {COMMAND}. {RESULT}",
    ),
    "template": (
        str | None,
        None,
        "FILE",
        "--command: a config file; {template} is each probe's copy, with {weight_decay}, {lr}, ... in it replaced.",
    ),
    "data": (
        str | None,
        None,
        "PATH",
        "Your data: text, JSONL, parquet, .bin or .npy tokens; for mlp, vit, resnet CSV, parquet, .npz or images.",
    ),
    "metric": (str | None, None, "NAME", "What to minimise instead of the loss, by the name it is logged by."),
    "metric_pattern": (
        str | None,
        None,
        "REGEX",
        "--command: what finds the metric instead, such as 'val loss ([0-9.]+)'; the last match counts.",
    ),
    "reseed": (bool, False, None, "--command: add the probe's seed to every seed that a torch training sets itself."),
    "maximize": (bool, False, None, "The metric is better the higher it is."),
    "timeout": (str | None, None, "SECONDS", "--command: longer than this, and a probe has failed."),
    "task_option": (list[str], (), "NAME=VALUE", "Whatever else the task takes, such as label_noise=0.2."),
    "device": (str, "auto", "NAME", "cpu or cuda; auto is a GPU where there is one, and is said."),
    "precision": (
        str,
        "float32",
        "NAME",
        "float32 (no TF32), tf32, bfloat16 (autocast; weights stay float32) or float64.",
    ),
    "seeds": (int, 3, "N", "Common seeds at most; the later ones are used where they pay."),
    "sizes": (
        str | None,
        None,
        "A,B,...",
        "Data sets to sweep at, such as 1x,4x or 16k,64k: how the optimum moves with the data.",
    ),
    "widths": (str | None, None, "A,B,...", "Widths to sweep at, such as 64,256."),
    "batches": (str | None, None, "A,B,...", "Batch sizes to sweep at, such as 1x,2x."),
    "epoch_counts": (str | None, None, "A,B,...", "Epochs to sweep at, such as 8,32."),
    "tune": (str | None, None, "lr", "Tune the learning rate too: sweep at several."),
    "budget": (str | None, None, "AMOUNT", "Spend no more: 20 (probes), 30min, 2h or 1e15flops."),
}


def probe_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the run options and these, and `-- COMMAND ...`; it receives them as one `probing`."""

    def with_probes(given: Given, words: list[str] | None, **values: Any) -> None:
        asked = {name: values.pop(name) for name in OPTIONS}
        asked["command"] = _command(asked["command"], words or [])
        command(probing=_probing(given, **asked), **values)

    own = [p for name, p in inspect.signature(command).parameters.items() if name != "probing"]
    given = inspect.Parameter("given", inspect.Parameter.KEYWORD_ONLY, annotation=Given)
    functools.update_wrapper(with_probes, command)
    kept = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
    told = "Your training, as --command has it, without quotes round the whole."
    argument = typer.Argument(metavar="-- COMMAND ARGS", help=told, show_default=False)
    words = inspect.Parameter(
        "words", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[list[str] | None, argument]
    )
    shared = [given, words, *kept, *map(_parameter, OPTIONS)]
    with_probes.__signature__ = inspect.Signature(shared)  # type: ignore[attr-defined]
    return run_options(with_probes)


def _parameter(name: str) -> inspect.Parameter:
    """An option as typer reads it."""
    kind, default, metavar, text = OPTIONS[name]
    spelled = "--" + name.replace("_", "-")
    option = typer.Option(spelled, metavar=metavar, help=text, rich_help_panel="The probes")
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option])


def _command(option: str | None, words: Sequence[str]) -> str | None:
    """What --command says, or the words behind a -- as it would say them."""
    behind = behind_dashes()
    if behind is None and not words:
        return option
    if behind != [*words]:
        raise SpecError(f"unexpected argument {words[0][:60]!r}: for your own command, write it behind --")
    if not words:
        raise MissingInputError(f"nothing follows --: write your command there, such as {COMMAND[1:-1]}")
    if option is not None:
        raise SpecError("--command and a command behind -- are two spellings of one thing: pass one of them")
    return shlex.join(words)


def _probing(given: Given, **asked: Any) -> Probing:
    device, precision, command, task = (asked[name] for name in ("device", "precision", "command", "task"))
    if device not in (known := ("auto", *DEVICES)):
        raise UnknownNameError("device", device, known)
    if precision not in PRECISIONS:
        raise UnknownNameError("precision", precision, PRECISIONS)
    if command is not None and task not in (DEFAULT_TASK, "command"):
        raise SpecError(f"--command and --task {task} are two different trainings: pass one")
    if asked["tune"] not in (None, "lr"):
        raise SpecError(f"--tune {asked['tune'][:40]!r}: only lr is tuned beside the timescale. Pass --tune lr")
    options, run = named_values("--task-option", asked["task_option"]), dict(fields_from(given))
    of_command = {name: asked[name] for name in ("template", "metric_pattern")}
    of_command["reseed"] = "yes" if asked["reseed"] else None
    for option, value in of_command.items():
        if command is None and task != "command" and value is not None:
            raise SpecError(
                f"--{option.replace('_', '-')} is read with --command only: pass the command too, or drop it"
            )
    named = {"command": command, "timeout": asked["timeout"], **of_command}
    metric, maximize = asked["metric"], asked["maximize"]
    if command is not None:  # it is told which number to read, and in which unit it takes its weight decay
        named |= {"metric": metric, "mode": "max" if maximize else None, "convention": run.pop("convention", None)}
        metric, maximize = None, False
    for option, value in named.items():
        if value is not None and option in options:
            raise SpecError(f"--{option} and --task-option {option}=... say the same thing twice: drop one of them")
    options |= {option: value for option, value in named.items() if value is not None}
    return {
        "task": task if command is None else "command",
        "data": asked["data"],
        "task_options": options,
        "run": run,
        "axes": {axis: asked[name].split(",") for name, axis in AXIS_OPTIONS.items() if asked[name] is not None},
        "tune_lr": asked["tune"] is not None,
        "metric": metric or "loss",
        "maximize": maximize,
        "device": device,
        "precision": precision,
        "seeds": asked["seeds"],
        **({} if asked["budget"] is None else {"budget": _budget(asked["budget"])}),
    }


def _budget(text: str) -> "Budget":
    from adamw_scale.calibration.design import Budget

    return Budget.parse(text)


def named_values(option: str, texts: Sequence[str]) -> dict[str, str]:
    """NAME=VALUE texts as a mapping; SpecError for one that is none, or a name that comes twice."""
    values: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise SpecError(f"{option} {text!r}: write it as NAME=VALUE")
        if name in values:
            raise SpecError(f"{option} {name}=... was given twice, as {values[name]!r} and {value!r}: keep one")
        values[name] = value
    return values
