"""adamw-scale list: what there is, with sources."""

from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any

import typer

from adamw_scale.cli.shared import JsonOption
from adamw_scale.cli.text import columns, styled
from adamw_scale.errors import UnknownNameError
from adamw_scale.noun import to_json
from adamw_scale.registry import Registry

Row = dict[str, Any]


def command(
    kind: Annotated[str | None, typer.Argument(help="one kind; all of them if none is named", metavar="[KIND]")] = None,
    json: JsonOption = False,
) -> None:
    """What there is: rules, schedules, conventions, parametrizations, laws, frameworks, tasks, engines, trackers.

    adamw-scale list rules

    adamw-scale list conventions
    """
    if kind is not None and kind not in KINDS:
        raise UnknownNameError("kind", kind, KINDS)
    found = {name: KINDS[name]() for name in KINDS if kind in (None, name)}
    if json:
        print(to_json({"schema": "adamw-scale/list/1", **found}))
        return
    print("\n\n".join(_table(name, rows) for name, rows in found.items()))


def _table(kind: str, rows: list[Row]) -> str:
    """A name and everything about it, one paragraph each; the heading says what the paragraphs hold, in order."""
    _, *parts = rows[0]
    cells = [(row["name"], " · ".join(str(row[part]) for part in parts if row[part])) for row in rows]
    return styled(kind, bold=True) + "\n" + columns(("name", " · ".join(parts)), cells)


def _rules() -> list[Row]:
    from adamw_scale.rules import RULES, on_the_evidence

    rows = _described(RULES, formula="formula", source="source", certainty="certainty", domain="fitted_on")
    return [{**row, "on the evidence": on_the_evidence(row["name"])} for row in rows]


def _schedules() -> list[Row]:
    from adamw_scale.theory.schedules import SCHEDULES

    return _described(SCHEDULES, options="flags", shape="summary")


def _conventions() -> list[Row]:
    from adamw_scale.theory.conventions import CONVENTIONS

    rows = _described(CONVENTIONS, library="library", **{"shrinks by": "formula"}, default="default", kind="kind")
    return [{**row, "default": row["default"] and f"default {row['default']}"} for row in rows]


def _parametrizations() -> list[Row]:
    from adamw_scale.theory.parametrizations import PARAMETRIZATIONS

    return _described(PARAMETRIZATIONS, summary="summary", source="source")


def _laws() -> list[Row]:
    from adamw_scale.theory.lr_laws import LAWS

    return _described(LAWS, formula="formula", source="source", certainty="certainty")


def _frameworks() -> list[Row]:
    from adamw_scale.frameworks import FRAMEWORKS

    rows = _described(FRAMEWORKS, convention="convention", reads="reads", schedules="schedules", proven="proven")
    return [{**row, "reads": row["reads"] or "not read", "schedules": " ".join(row["schedules"])} for row in rows]


def _tasks() -> list[Row]:
    from adamw_scale.training.tasks import SUMMARIES, TASKS

    return _summarised(TASKS, SUMMARIES)


def _engines() -> list[Row]:
    from adamw_scale.probe.engines import ENGINES, SUMMARIES

    return _summarised(ENGINES, SUMMARIES)


def _trackers() -> list[Row]:
    from adamw_scale.probe.trackers import SUMMARIES, TRACKERS

    return _summarised(TRACKERS, SUMMARIES)


def _described(parts: Mapping[str, Any] | Registry[Any], **attributes: str) -> list[Row]:
    """A row for each part: its name, and columns with its attributes."""
    return [
        {"name": name, **{column: getattr(part, attribute) for column, attribute in attributes.items()}}
        for name, part in parts.items()
    ]


def _summarised(names: Iterable[str], summaries: Mapping[str, str]) -> list[Row]:
    """Rows of parts that take seconds to import, so that their registry's module sums them up."""
    return [{"name": name, "summary": summaries.get(name, "from an installed package")} for name in names]


KINDS: dict[str, Callable[[], list[Row]]] = {
    "rules": _rules,
    "schedules": _schedules,
    "conventions": _conventions,
    "parametrizations": _parametrizations,
    "laws": _laws,
    "frameworks": _frameworks,
    "tasks": _tasks,
    "engines": _engines,
    "trackers": _trackers,
}
