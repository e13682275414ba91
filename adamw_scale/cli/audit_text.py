"""An audit for people: counts of findings, what every group gets, what is wrong, what was not judged."""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from adamw_scale.cli.shared import describe_run, remark
from adamw_scale.cli.text import columns, labelled, styled, width
from adamw_scale.frameworks import FRAMEWORKS
from adamw_scale.rules.kept import STANCE
from adamw_scale.units import format_count, format_percent, format_significant

if TYPE_CHECKING:
    from adamw_scale.auditing import Audit, GroupTimescale, Watched
    from adamw_scale.auditing.provenance import Value

COLUMNS = ("group", "written", "λ", "peak lr", "tau, steps", "of the run", "init kept")
COLORS = {"error": "red", "warning": "yellow", "note": "cyan"}


def render(found: "Audit") -> str:
    """The audit for a person: what it is, what every group gets, what is wrong, what was not judged."""
    rows = {"config": f"{FRAMEWORKS[found.framework].title}, weight decay as in {found.convention}"}
    if found.values:
        rows["values"] = "; ".join(_value(value) for value in found.values)
    return "\n\n".join([headline(found, rows, _unread(found)), _groups(found), *remarks(found)])


def remarks(found: "Audit | Watched") -> list[str]:
    """What is wrong, and what was not judged."""
    parts = [remark(finding, finding.severity, COLORS[finding.severity]) for finding in found.findings]
    if found.asks:
        rows = [labelled("not judged", "against a recommendation, because the run is not known:")]
        parts.append("\n".join([*rows, *(labelled("  add", f"{option}: {why}") for option, why in found.asks.items())]))
    if found.unadvised:
        parts.append(labelled("no advice", found.unadvised))
    return parts


def headline(found: "Audit | Watched", rows: dict[str, str], unread: Sequence[str] = ()) -> str:
    """Counts of findings, what was audited, and the recommendation beside it."""
    counts = {severity: sum(finding.severity == severity for finding in found.findings) for severity in COLORS}
    said = ", ".join(f"{count} {severity}{'s' if count != 1 else ''}" for severity, count in counts.items() if count)
    if unread:
        said = f"not readable: {', '.join(unread)}{'; ' if said else ''}{said}"
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
    title = "\n".join(styled(line, bold=True) for line in textwrap.wrap(said or "nothing found", width()))
    return title + "\n\n" + "\n".join(labelled(label, text) for label, text in rows.items())


def _unread(found: "Audit") -> list[str]:
    """What of the config is not known."""
    unread = [value.name for value in found.values if value.origin == "unknown"]
    if found.values and "weight decay" not in unread and any(group.written is None for group in found.groups):
        unread.append("whether all groups decay")
    return unread


def _value(value: "Value") -> str:
    """A value with where it comes from, unless it stands there as it is."""
    if value.origin == "unknown":
        return f"{value.name} unknown"
    shown = value.value
    text = (
        shown
        if isinstance(shown, str)
        else ", ".join(f"{each:g}" for each in shown)
        if isinstance(shown, tuple)
        else f"{shown:.8g}"
        if isinstance(shown, float)
        else ""
    )
    where = {
        "default": f" ({value.part + ' by ' if value.part else ''}default of {value.of})",
        "overridable": " (default of the script, may be overridden)",
        "computed": f" (computed, with a default of {value.of})" if value.of else " (computed)",
        "said": " (as you say)" if text else "as you say",
    }.get(value.origin, "")
    return f"{value.name} {text}{where}"


def _groups(found: "Audit") -> str:
    """What every parameter group gets."""
    return columns(COLUMNS, [figures(group) for group in found.groups])


def figures(group: "GroupTimescale") -> tuple[str, ...]:
    """A group's row of the table."""
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
