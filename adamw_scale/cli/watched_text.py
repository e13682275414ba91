"""A watched training for people: every optimizer and its groups, what is wrong, what could not be seen."""

from typing import TYPE_CHECKING

from adamw_scale.cli.audit_text import COLUMNS, figures, headline, remarks
from adamw_scale.cli.text import columns, labelled
from adamw_scale.units import format_count, format_significant

if TYPE_CHECKING:
    from adamw_scale.auditing import Watched, WatchedGroup, WatchedOptimizer

ROLES = {"hidden": "hidden matrix", "norm-and-bias": "gain or bias", "flat": "unnamed"}


def render_watched(found: "Watched") -> str:
    """The whole answer; its table has a row for each group of each optimizer."""
    several = f", in {found.processes} processes, of which the first is reported" if found.processes > 1 else ""
    rows = {"seen": "; ".join(_optimizer(each) for each in found.optimizers) + several}
    parts = [headline(found, rows), *(_groups(each) for each in found.optimizers), *remarks(found)]
    if found.unseen:
        parts.append("\n".join(labelled("not seen", each) for each in found.unseen))
    return "\n\n".join(parts)


def _optimizer(optimizer: "WatchedOptimizer") -> str:
    known = {"class": "", "measurement": ", as measured", "assumption": ", which is an assumption"}
    total = f" of {format_count(optimizer.total_steps)} ({optimizer.total_steps_from})" if optimizer.total_steps else ""
    scheduler = f", {optimizer.scheduler}" if optimizer.scheduler else ""
    return (
        f"{optimizer.steps} steps{total} of {optimizer.name}{scheduler}, weight decay as in {optimizer.convention}"
        + known[optimizer.known_by]
    )


def _groups(optimizer: "WatchedOptimizer") -> str:
    """A row for each group, and below it what the groups hold."""
    table = columns((*COLUMNS[:3], "measured", *COLUMNS[3:]), [_row(group) for group in optimizer.groups])
    return "\n".join([table, *(labelled("holds", f"{group.group}: {_held(group)}") for group in optimizer.groups)])


def _row(group: "WatchedGroup") -> tuple[str, ...]:
    measured = "unknown" if group.measured is None else format_significant(group.measured)
    name, written, decay, *rest = figures(group)
    return (name, written, decay, measured, *rest)


def _held(group: "WatchedGroup") -> str:
    """Its tensors by role, with their weights."""
    parts = [
        f"{role.tensors} {ROLES.get(name, name)} ({format_count(role.weights)})" for name, role in group.roles.items()
    ]
    return ", ".join(parts) or "nothing"
