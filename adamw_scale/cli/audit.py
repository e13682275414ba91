"""adamw-scale audit: what an existing config really does."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adamw_scale.cli.run_flags import Given, run_options, words_from
from adamw_scale.cli.shared import describe_run, remark
from adamw_scale.cli.text import columns, labelled, styled
from adamw_scale.errors import SpecError, UnknownNameError
from adamw_scale.files import read_text
from adamw_scale.frameworks import FRAMEWORKS
from adamw_scale.rules.kept import STANCE
from adamw_scale.units import format_count, format_percent, format_significant

if TYPE_CHECKING:
    from adamw_scale.auditing import Audit, GroupTimescale

MAX_CONFIG_BYTES = 1 << 18
FORMATS = ("text", "json", "sarif", "github")
COLORS = {"error": "red", "warning": "yellow", "note": "cyan"}


@run_options
def command(
    given: Given,
    file: Annotated[str, typer.Argument(help="a config, launch script or training script; - is stdin", metavar="FILE")],
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
    output: Annotated[
        str,
        typer.Option("--format", help=f"one of {', '.join(FORMATS)}; sarif and github are for CI", metavar="FORMAT"),
    ] = "text",
    json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """What timescale a config really has, per parameter group, and what in it is probably not meant.

    adamw-scale audit train.yaml --tokens 26B --params 1.3B --devices 64

    adamw-scale audit launch.sh --format github

    The file is read as data, never executed. Run options add what the config does not say and override what it says.
    Exit status 1 if an error is found.
    """
    from adamw_scale.auditing import audit

    if output not in FORMATS:
        raise UnknownNameError("format", output, FORMATS)
    text = read_text(file, MAX_CONFIG_BYTES)
    try:
        found = audit(text, framework, suffix=Path(file).suffix, devices=devices, **_said(given))
    except SpecError as error:
        raise SpecError(f"{'stdin' if file == '-' else file[:200]}: {error}") from None
    if document := _rendered(found, "json" if json else output, file, text):
        print(document)
    if found.failed:
        raise typer.Exit(1)


def _said(given: Given) -> Given:
    """What file and flags say of the run, but a file's weight decay and its unit: the config's own are judged."""
    from adamw_scale.auditing.runs import OF_THE_CONFIG

    return {name: value for name, value in words_from(given).items() if name not in OF_THE_CONFIG or name in given}


def _rendered(found: "Audit", output: str, path: str, text: str) -> str:
    """The audit in an output format."""
    if output == "json":
        return found.to_json()
    if output == "text":
        return render(found)
    from adamw_scale.cli import annotations

    return (annotations.sarif if output == "sarif" else annotations.github)(found, path, text)


def render(found: "Audit") -> str:
    """The audit for a person: what it is, what every group gets, what is wrong, what was not judged."""
    parts = [_headline(found), _groups(found)]
    parts += [remark(finding, finding.severity, COLORS[finding.severity]) for finding in found.findings]
    if found.asks:
        rows = [labelled("not judged", "against a recommendation, because the run is not known:")]
        parts.append("\n".join([*rows, *(labelled("  add", f"{option}: {why}") for option, why in found.asks.items())]))
    return "\n\n".join(parts)


def _headline(found: "Audit") -> str:
    """Counts of findings, and the recommendation beside the config."""
    counts = {severity: sum(finding.severity == severity for finding in found.findings) for severity in COLORS}
    said = ", ".join(f"{count} {severity}{'s' if count != 1 else ''}" for severity, count in counts.items() if count)
    rows = {"config": f"{FRAMEWORKS[found.framework].title}, weight decay as in {found.convention}"}
    if found.run is not None:
        rows["run"] = describe_run(found.run)
    if found.recommendation is not None:
        advice = found.recommendation
        low, high = advice.weight_decay_range
        rows["advice"] = (
            STANCE
            if advice.rule == "kept"
            else (
                f"weight decay {format_significant(advice.weight_decay)} in PyTorch's unit, range "
                f"{format_significant(low)} to "
                f"{format_significant(high)} ({advice.rule}, {advice.companions.source})"
                + ("" if advice.companions.in_domain else "; the run is OUTSIDE the rule's domain")
            )
        )
    title = styled(said or "nothing found", bold=True)
    return title + "\n\n" + "\n".join(labelled(label, text) for label, text in rows.items())


def _groups(found: "Audit") -> str:
    """What every parameter group gets."""
    rows = [_row(group) for group in found.groups]
    return columns(("group", "written", "λ", "peak lr", "tau, steps", "of the run", "init kept"), rows)


def _row(group: "GroupTimescale") -> tuple[str, ...]:
    tau = group.timescale
    unknown = "never" if group.weight_decay == 0 else "unknown"
    return (
        group.group,
        "unknown" if group.written is None else f"{group.written:.4g}",
        "unknown" if group.weight_decay is None else format_significant(group.weight_decay),
        "unknown" if group.peak_lr is None else f"{group.peak_lr:.4g}",
        format_count(round(tau.iters)) if tau else unknown,
        _share(tau.run) if tau and tau.run else unknown,
        "unknown" if group.retention is None else format_percent(group.retention),
    )


def _share(run: float) -> str:
    """A timescale as a part of the run, or as a multiple where it is far longer."""
    return f"{format_significant(run)} times" if run >= 10 else format_percent(run)
