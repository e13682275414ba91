"""The options that say what probes train, shared by the commands that plan or run them."""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from adamw_scale.cli.run_options import Given, fields_from, run_options
from adamw_scale.errors import SpecError, UnknownNameError
from adamw_scale.probe.plan import DEVICES, PRECISIONS

DEFAULT_TASK = "char-lm"


@dataclass(frozen=True)
class Probing:
    """What probes train and where, as the command line says it."""

    task: str
    data: str | None
    task_options: Mapping[str, str]
    run: Mapping[str, Any]
    device: str
    precision: str
    seeds: int


def _option(annotation: Any, default: Any, *spellings: str, **more: Any) -> tuple[Any, Any]:
    return Annotated[annotation, typer.Option(*spellings, rich_help_panel="The probes", **more)], default


OPTIONS = {
    "task": _option(
        str,
        DEFAULT_TASK,
        "--task",
        metavar="NAME",
        help="What probes train: char-lm, byte-mlp, mlp, vit, resnet, or your own package.module:attribute.",
    ),
    "command": _option(
        str | None,
        None,
        "--command",
        metavar="COMMAND",
        help="Your training script instead: 'python train.py --lr {lr} --wd {weight_decay} --steps {steps} --seed {seed}'. "
        "It prints its result as a JSON line.",
    ),
    "data": _option(
        str | None,
        None,
        "--data",
        metavar="PATH",
        help="Your data: text, JSONL, parquet, .bin or .npy tokens; CSV, parquet, .npz or a folder of images for mlp, vit, resnet.",
    ),
    "metric": _option(
        str | None, None, "--metric", metavar="NAME", help="--command: the number to minimise in its JSON line (loss)."
    ),
    "timeout": _option(
        str | None, None, "--timeout", metavar="SECONDS", help="--command: longer than this, and a probe has failed."
    ),
    "task_option": _option(
        list[str],
        (),
        "--task-option",
        metavar="NAME=VALUE",
        help="Whatever else the task takes, such as label_noise=0.2.",
    ),
    "device": _option(str, "cpu", "--device", metavar="NAME", help="cpu or cuda"),
    "precision": _option(
        str,
        "float32",
        "--precision",
        metavar="NAME",
        help="float32 (no TF32), tf32, bfloat16 (autocast; weights stay float32) or float64.",
    ),
    "seeds": _option(int, 3, "--seeds", metavar="N", help="Common seeds: more give a narrower and surer interval."),
}


def probe_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the run options and these; it receives them as one `probing`."""

    def with_probes(given: Given, **values: Any) -> None:
        asked = {name: values.pop(name) for name in OPTIONS}
        command(probing=_probing(given, **asked), **values)

    own = [p for name, p in inspect.signature(command).parameters.items() if name != "probing"]
    given = inspect.Parameter("given", inspect.Parameter.KEYWORD_ONLY, annotation=Given)
    shared = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (annotation, default) in OPTIONS.items()
    ]
    functools.update_wrapper(with_probes, command)
    kept = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
    with_probes.__signature__ = inspect.Signature([given, *kept, *shared])  # type: ignore[attr-defined]
    return run_options(with_probes)


def _probing(
    given: Given,
    task: str,
    command: str | None,
    data: str | None,
    metric: str | None,
    timeout: str | None,
    task_option: Sequence[str],
    device: str,
    precision: str,
    seeds: int,
) -> Probing:
    if device not in DEVICES:
        raise UnknownNameError("device", device, DEVICES)
    if precision not in PRECISIONS:
        raise UnknownNameError("precision", precision, PRECISIONS)
    if command is not None and task not in (DEFAULT_TASK, "command"):
        raise SpecError(f"--command and --task {task} are two different trainings: pass one")
    options, run = named_values("--task-option", task_option), dict(fields_from(given))
    named = {"command": command, "metric": metric, "timeout": timeout}
    if command is not None and "convention" in run:  # the unit in which the script takes its weight decay
        named["convention"] = run.pop("convention")
    for option, value in named.items():
        if value is not None and option in options:
            raise SpecError(f"--{option} and --task-option {option}=... say the same thing twice: drop one of them")
    options |= {option: value for option, value in named.items() if value is not None}
    name = task if command is None else "command"
    return Probing(name, data, options, run, device, precision, seeds)


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
