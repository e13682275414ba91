"""adamw-scale audit: what an existing config or training really does."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adamw_scale.cli.audit_text import render
from adamw_scale.cli.run_flags import Given, run_options, words_from
from adamw_scale.cli.shared import behind_dashes
from adamw_scale.cli.text import say
from adamw_scale.errors import SpecError, UnknownNameError
from adamw_scale.files import read_plain, read_text
from adamw_scale.units import parse_quantity

if TYPE_CHECKING:
    from adamw_scale.auditing import Audit, Watched

MAX_CONFIG_BYTES = 1 << 18
MAX_NOTEBOOK_BYTES = 1 << 23  # with the pictures in it
FORMATS = ("text", "json", "sarif", "github")
MARK = "\ufeff"  # that some editors put first
STEPS = "20"  # that a command is watched for
MOST_STEPS = 10**9


@run_options
def command(
    given: Given,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            help="a config, launch script, training script or notebook; - is stdin", metavar="FILE | -- COMMAND ..."
        ),
    ] = None,
    framework: Annotated[
        str | None,
        typer.Option(
            "--framework", help="Whose config it is, where that cannot be told from its keys.", metavar="NAME"
        ),
    ] = None,
    devices: Annotated[
        str | None,
        typer.Option("--devices", help="Number of devices, where the batch is per device.", metavar="N"),
    ] = None,
    launch: Annotated[
        str | None,
        typer.Option("--command", help="Which launch of a shell script it is, where that has several.", metavar="N"),
    ] = None,
    steps: Annotated[
        str | None,
        typer.Option(
            "--steps",
            help="With a COMMAND: interrupt it after N optimizer steps (20). With a FILE: optimizer steps of the run, "
            "where the size of the data set is not given.",
            metavar="N",
        ),
    ] = None,
    whole: Annotated[bool, typer.Option("--whole", help="With a COMMAND: let it run to its end, then report.")] = False,
    steps_total: Annotated[
        str | None,
        typer.Option(
            "--steps-total",
            help="With a COMMAND: optimizer steps of the whole run, where its scheduler does not tell.",
            metavar="N",
        ),
    ] = None,
    diff: Annotated[
        bool, typer.Option("--diff", help="Print what --fix would change in the FILE, and change nothing.")
    ] = False,
    fix: Annotated[
        bool,
        typer.Option("--fix", help="Change what is certain in the FILE, byte for byte nothing else; a backup is kept."),
    ] = False,
    to_recommendation: Annotated[
        bool,
        typer.Option("--to-recommendation", help="With --diff or --fix: write the recommended weight decay, too."),
    ] = False,
    output: Annotated[
        str,
        typer.Option("--format", help=f"one of {', '.join(FORMATS)}; sarif and github are for CI", metavar="FORMAT"),
    ] = "text",
    json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """What timescale a training really has, per parameter group, and what in it is probably not meant.

    adamw-scale audit -- python train.py --config my.yaml

    adamw-scale audit --whole --tokens 26B --params 1.3B -- torchrun --nproc-per-node 8 train.py

    adamw-scale audit train.yaml --tokens 26B --params 1.3B --devices 64

    adamw-scale audit launch.sh --command 2 --format github

    adamw-scale audit train.yaml --tokens 26B --params 1.3B --devices 64 --fix --to-recommendation

    A COMMAND after -- is run as it is, in your environment. Its optimizers are looked at from inside: groups, learning
    rate and weight decay of each step, what a step really takes from the weights, the rest of the schedule. Nothing of
    its results is changed, but that after 20 steps it is interrupted as by Ctrl-C, and leaves the files that it would
    leave then. Its output goes to stderr; stdout is the answer.

    A FILE is read as data, never executed.

    Run options add what neither says and override what they say. Exit status 1 if an error is found; that of the
    COMMAND where it failed; 2 if nothing trained.
    """
    if output not in FORMATS:
        raise UnknownNameError("format", output, FORMATS)
    output = "json" if json else output
    arguments = behind_dashes()
    if not arguments:
        if whole or steps_total is not None:
            raise SpecError("--whole and --steps-total are for a command: put it last, after --")
        said = {**given, **({"steps": steps} if steps else {})}
        read: dict[str, Any] = {"framework": framework, "devices": devices}
        if launch is not None:
            read["command"] = _whole_number("--command", launch)
        if diff or fix:
            _mend_file(words or [], said, read, output, to_recommendation=to_recommendation, write=fix)
        elif to_recommendation:
            raise SpecError("--to-recommendation is for --diff or --fix: add one of them")
        else:
            _audit_file(words or [], said, read, output)
        return
    if (words or []) != arguments:
        raise SpecError(
            f"{(words or [''])[0][:60]!r} and a command after -- are both to be audited: drop one of the two"
        )
    if framework is not None or devices is not None or launch is not None:
        raise SpecError(
            "--framework, --devices and --command are for a file: a command is looked at as it runs, so drop them"
        )
    if diff or fix or to_recommendation:
        raise SpecError("--diff, --fix and --to-recommendation change a file: name it instead of a command")
    if whole and steps is not None:
        raise SpecError("--whole and --steps both say when to end: drop one of the two")
    limit = None if whole else _whole_number("--steps", steps or STEPS)
    _audit_command(arguments, given, limit, steps_total, output)


def _audit_file(words: list[str], given: Given, read: dict[str, Any], output: str) -> None:
    file = _only(words)
    text = read_text(file, _most_bytes(file))
    with _named(file):
        found = _reader(file, given, read)(text)
    if document := _rendered(found, output, file, text):
        print(document)
    if found.failed:
        raise typer.Exit(1)


def _mend_file(
    words: list[str], given: Given, read: dict[str, Any], output: str, *, to_recommendation: bool, write: bool
) -> None:
    from adamw_scale.auditing.mending import mended
    from adamw_scale.cli.mended_text import rewrite, unified

    file = _only(words)
    if write and file == "-":
        raise SpecError("--fix writes into the file, and stdin is none: pass --diff, or the file")
    if output not in ("text", "json"):
        raise SpecError(f"--format {output} is for findings: drop it beside --diff and --fix")
    text = read_plain(file, _most_bytes(file)).decode()
    mark, text = text[: text.startswith(MARK)], text.removeprefix(MARK)
    with _named(file):
        done = mended(text, _reader(file, given, read), to_recommendation=to_recommendation)
    if write and done.changes:
        say(f"adamw-scale: {rewrite(Path(file), mark + done.text)}")
    if document := done.to_json() if output == "json" else unified(file, text, done):
        print(document)
    if not done.changes:
        say("adamw-scale: nothing to change that is certain")
    for each in done.left:
        say(f"adamw-scale: left to you: {each.severity} {each.code}: {each.message}; {each.fix}")
    if done.audit.failed:
        raise typer.Exit(1)


def _most_bytes(file: str) -> int:
    return MAX_NOTEBOOK_BYTES if Path(file).suffix.lower() == ".ipynb" else MAX_CONFIG_BYTES


def _only(words: list[str]) -> str:
    """The one file."""
    if len(words) != 1:
        extra = f"{words[1][:60]!r} follows the file" if words else "nothing to audit"
        raise SpecError(f"{extra}: pass one FILE, or a command after --, as in: adamw-scale audit -- python train.py")
    return words[0]


def _reader(file: str, given: Given, read: dict[str, Any]) -> "Callable[[str], Audit]":
    """What audits the text of a file."""
    from adamw_scale.auditing import audit

    return partial(audit, suffix=Path(file).suffix, **read, **_said(given))


@contextmanager
def _named(file: str) -> Iterator[None]:
    """Errors name the file."""
    try:
        yield
    except SpecError as error:
        raise SpecError(f"{'stdin' if file == '-' else file[:200]}: {error}") from None


def _audit_command(arguments: list[str], given: Given, limit: int | None, steps_total: str | None, output: str) -> None:
    from adamw_scale.auditing import judged_watched
    from adamw_scale.spec.run import described_by, said_over
    from adamw_scale.watching.command import watched

    total = _whole_number("--steps-total", steps_total) if steps_total is not None else None
    said = said_over(described_by(_said(given)), {"steps": float(total)} if total else {})
    if "steps" in said and total is None:
        total = _whole_number("steps", str(said["steps"]))
    run = watched(arguments, limit, total, lambda text: say(f"adamw-scale: {text}"))
    own_status = 128 - run.status if run.status < 0 else run.status
    ended = "" if run.stopped else f" It ended with exit status {own_status}."
    if run.interrupted and not run.processes:
        raise KeyboardInterrupt
    if not run.processes:
        say(f"adamw-scale: {_nothing(run.libraries)}{ended}")
        raise typer.Exit(own_status or 2)
    if not any(optimizer.groups for optimizer in run.processes[0].optimizers):
        say(f"adamw-scale: an optimizer stepped and could not be looked at: {run.processes[0].trouble[0]}.{ended}")
        raise typer.Exit(own_status or 2)
    stepped = len(run.processes)
    early = run.stopped or run.interrupted
    found = judged_watched(
        run.processes[0], said, command=arguments, status=run.status, stopped=early, processes=stepped
    )
    if run.stopped:
        say(
            f"adamw-scale: interrupted after {limit} optimizer steps, so its files are as after Ctrl-C; --whole runs on"
        )
    elif own_status and not run.interrupted:
        say(f"adamw-scale: the command failed with exit status {own_status}; this is what was seen until then")
    file = next((word for word in arguments if Path(word).suffix in (".py", ".sh") and os.path.isfile(word)), "")
    text = read_text(file, MAX_CONFIG_BYTES) if file and output in ("sarif", "github") else ""
    if document := _rendered(found, output, file or arguments[0], text):
        print(document)
    if run.interrupted:
        raise KeyboardInterrupt
    if own_status and not run.stopped:
        raise typer.Exit(own_status)
    if found.failed:
        raise typer.Exit(1)


def _nothing(libraries: tuple[str, ...]) -> str:
    """Why nothing was seen."""
    others = [library for library in libraries if library != "torch"]
    if "torch" in libraries:
        return (
            "no optimizer of torch.optim made a step in the command, so there is nothing to audit: let it train, with "
            "an optimizer that comes from torch.optim.Optimizer."
        )
    if others:
        return (
            f"the command imports {' and '.join(others)} and not torch, and only optimizers of torch can be watched: "
            "audit its config instead, adamw-scale audit FILE."
        )
    return (
        "no Python of the command imported torch, so there is nothing to audit: run a training here, not in a "
        "container or on another machine, and without python -I, -E or -S."
    )


def _whole_number(option: str, text: str) -> int:
    """A number of steps; SpecError for anything else."""
    number = parse_quantity(text)
    if not 1 <= number <= MOST_STEPS or number != int(number):
        raise SpecError(f"{option} = {text[:60]}: write a whole number of steps, from 1")
    return int(number)


def _said(given: Given) -> Given:
    """What file and flags say of the run, but a file's weight decay and its unit: the config's own are judged."""
    from adamw_scale.auditing.runs import OF_THE_CONFIG

    return {name: value for name, value in words_from(given).items() if name not in OF_THE_CONFIG or name in given}


def _rendered(found: "Audit | Watched", output: str, path: str, text: str) -> str:
    """The audit in an output format."""
    if output == "json":
        return found.to_json()
    if output == "text":
        from adamw_scale.auditing import Audit

        if isinstance(found, Audit):
            return render(found)
        from adamw_scale.cli.watched_text import render_watched

        return render_watched(found)
    from adamw_scale.cli import annotations

    return (annotations.sarif if output == "sarif" else annotations.github)(found, path, text)
