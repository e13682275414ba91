"""adamw-scale ladder: the advice for several runs at once."""

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from adamw_scale.advisor.rungs import TOKENS_PER_PARAM, described, ladder, shared, without_what_is_said_anew
from adamw_scale.cli.ladder_text import render, to_csv
from adamw_scale.cli.plot_option import PlotOption, refuse_other_plots
from adamw_scale.cli.run_file import read_ladder_file
from adamw_scale.cli.run_flags import Given, flags_over, run_options, spellings
from adamw_scale.cli.shared import CalibrationOption, JsonOption, ReferenceOption, RuleOption, measurement_from
from adamw_scale.errors import MissingInputError, SpecError
from adamw_scale.files import read_text, write_atomically
from adamw_scale.spec.ladder import Ladder
from adamw_scale.spec.run import TrainingRun, said_over

NUMBERS = {name for name, kind in get_type_hints(TrainingRun).items() if kind in (float, float | None)}
LISTS = {
    *NUMBERS,
    "tokens",
    "samples",
    "sequences",
    "steps",
    "warmup",
    TOKENS_PER_PARAM,
}  # elsewhere a comma is part of the value
MAX_CONFIG_BYTES = 1 << 20


@run_options
def command(
    given: Given,
    tokens_per_param: Annotated[
        str | None,
        typer.Option(
            "--tokens-per-param",
            help="unique tokens in the data set for each parameter, in place of --tokens",
            metavar="N",
            rich_help_panel="The run",
        ),
    ] = None,
    lr_law: Annotated[
        str | None,
        typer.Option(
            "--lr-law",
            help="The published law that fills in --lr and --batch-size where they are missing; by default the first "
            "in whose domain a rung lies.",
            metavar="NAME",
        ),
    ] = None,
    rule: RuleOption = None,
    calibration: CalibrationOption = None,
    reference: ReferenceOption = None,
    emit: Annotated[
        str | None,
        typer.Option(
            "--emit", help="Write a config for each rung in this framework's words, into --out.", metavar="NAME"
        ),
    ] = None,
    out: Annotated[
        str | None, typer.Option("--out", help="Folder for these configs: 300M.sh, 1B.sh, ...", metavar="DIR")
    ] = None,
    plot: PlotOption = None,
    csv: Annotated[bool, typer.Option("--csv", help="One row for each rung on stdout, numbers unrounded.")] = False,
    json: JsonOption = False,
) -> None:
    r"""Weight decay for a ladder of models, or for any several runs, in one table.

    adamw-scale ladder --params 100M,300M,1B,3B --tokens-per-param 20

    adamw-scale ladder --run ladder.toml --lr 3e-3 --emit megatron --out configs

    Options that take a number take a list too: 100M,300M,1B are three rungs, and a single value is for all. In a
    file each [\[run]] table is a rung, and keys above them are for all. Without --lr or --batch-size a published
    law fills them in, under muP so that hidden matrices get the law's rate.
    """
    refuse_other_plots(plot)
    if csv and json:
        raise SpecError("--csv and --json both write to stdout: drop one of the two")
    if (emit is None) != (out is None):
        lacking, beside = ("--out DIR", "--emit") if out is None else ("--emit NAME", "--out")
        raise MissingInputError(f"{beside} needs {lacking}: a framework's name, and the folder for a config per rung")
    measured, tuned = measurement_from(calibration, reference)
    own = {} if tokens_per_param is None else {TOKENS_PER_PARAM: tokens_per_param}
    answer = ladder(_rungs({**given, **own}), rule, measured, tuned, lr_law)
    figure = None
    if plot is not None:
        from adamw_scale.report import ladder_figure, save

        figure = ladder_figure(answer)
    if emit is not None:
        answer = _emitted(answer, emit, Path(str(out)))
    if plot is not None and figure is not None:
        save(figure, plot)
    if json or csv:
        print(answer.to_json() if json else to_csv(answer), end="\n" if json else "")
    else:
        print(render(answer, _next(emit)))
    if any(rung.recommendation.doubt for rung in answer.rungs):
        raise typer.Exit(1)


def _rungs(given: Given) -> Iterator[dict[str, Any]]:
    """Words for each rung: what the file says of it, and the flags over that.

    Raises:
        SpecError: lists of different length, or a file that cannot be read.
    """
    common, tables = read_ladder_file(given["run"]) if "run" in given else ({}, [{}])
    lists = {name: value.split(",") for name, value in given.items() if name in LISTS and "," in value}
    lengths = {spellings(name)[0]: len(values) for name, values in lists.items()}
    if len(tables) > 1:
        lengths["--run"] = len(tables)
    if len(set(lengths.values())) > 1:
        (first, n), *others = lengths.items()
        other, m = next((name, length) for name, length in others if length != n)
        raise SpecError(
            f"{first} gives {n} rungs and {other} gives {m}: make both of one length, or pass a single value for all"
        )
    for number in range(next(iter(lengths.values()), 1)):
        table = tables[number if len(tables) > 1 else 0]
        each = {name: lists[name][number] if name in lists else value for name, value in given.items() if name != "run"}
        file, flags = _over(described(common), described(table)), described(each)
        yield flags_over(without_what_is_said_anew(file, flags), flags)


def _over(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    return said_over(without_what_is_said_anew(base, own), own)


def _emitted(answer: Ladder, framework: str, folder: Path) -> Ladder:
    """The ladder with a config of each rung in the folder, and what a framework cannot say among its cautions.

    Raises:
        SpecError: the folder holds anything else.
    """
    from adamw_scale.frameworks.emission import emit

    snippets = {rung.name: emit(framework, rung.recommendation) for rung in answer.rungs}
    texts = {f"{name}{snippet.suffix}": snippet.text for name, snippet in snippets.items()}
    if folder.exists() and not folder.is_dir():
        raise SpecError(f"--out {str(folder)[:200]!r} is a file: pass a new folder")
    for file in folder.iterdir() if folder.exists() else ():
        if file.name not in texts or read_text(str(file), MAX_CONFIG_BYTES) != texts[file.name]:
            raise SpecError(
                f"--out {str(folder)[:200]!r} holds {file.name[:80]!r}, which these rungs would write "
                "otherwise or not at all: pass a new folder"
            )
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        write_atomically(folder / name, text)
    lost = shared({name: snippet.cautions for name, snippet in snippets.items()})
    rungs = [
        rung.model_copy(update={"file": str(folder / file)}) for rung, file in zip(answer.rungs, texts, strict=True)
    ]
    return answer.model_copy(update={"rungs": tuple(rungs), "cautions": (*answer.cautions, *lost)})


def _next(emitted: str | None) -> str:
    """The command that goes on from here."""
    if emitted is not None:
        return "adamw-scale calibrate --plan"
    return f"adamw-scale {shlex.join(sys.argv[1:])} --emit pytorch --out configs"
