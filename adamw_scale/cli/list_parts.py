"""adamw-scale list: what there is, with sources."""

from collections.abc import Callable
from typing import Annotated, Any

import typer

from adamw_scale.cli.text import columns, styled
from adamw_scale.errors import UnknownNameError

Row = dict[str, Any]


def list_parts(
    kind: Annotated[str | None, typer.Argument(help="one kind; all of them if none is named", metavar="[KIND]")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """What there is: rules, schedules, conventions, parametrizations, laws, frameworks, tasks, engines.

    adamw-scale list rules

    adamw-scale list conventions
    """
    if kind is not None and kind not in KINDS:
        raise UnknownNameError("kind", kind, KINDS)
    found = {name: KINDS[name]() for name in KINDS if kind in (None, name)}
    if json:
        import json as encoder

        print(encoder.dumps({"schema": "adamw-scale/list/1", **found}, ensure_ascii=False))
        return
    print("\n\n".join(_table(name, rows) for name, rows in found.items()))


def _table(kind: str, rows: list[Row]) -> str:
    """A name and everything about it, one paragraph each; the heading says what the paragraphs hold, in order."""
    _, *parts = rows[0]
    cells = [(row["name"], " · ".join(str(row[part]) for part in parts if row[part])) for row in rows]
    return styled(kind, bold=True) + "\n" + columns(("name", " · ".join(parts)), cells)


def _rules() -> list[Row]:
    from adamw_scale.rules import RULES

    return [
        {
            "name": name,
            "formula": part.formula,
            "source": part.source,
            "certainty": part.certainty,
            "domain": part.fitted_on,
        }
        for name in RULES
        for part in [RULES[name]]
    ]


def _schedules() -> list[Row]:
    from adamw_scale.schedules import OPTIONS, SCHEDULES

    return [
        {"name": name, "options": " ".join(OPTIONS[option] for option in kind.takes), "shape": kind.summary}
        for name, kind in SCHEDULES.items()
    ]


def _conventions() -> list[Row]:
    from adamw_scale.conventions import CONVENTIONS

    return [
        {
            "name": name,
            "library": part.library,
            "shrinks by": part.formula,
            "default": part.default and f"default {part.default}",
            "kind": part.kind,
        }
        for name, part in CONVENTIONS.items()
    ]


def _parametrizations() -> list[Row]:
    from adamw_scale.parametrizations import PARAMETRIZATIONS

    return [{"name": name, "summary": part.summary, "source": part.source} for name, part in PARAMETRIZATIONS.items()]


def _laws() -> list[Row]:
    from adamw_scale.lr_laws import LAWS

    return [
        {"name": name, "formula": law.formula, "source": law.source, "certainty": law.certainty}
        for name, law in LAWS.items()
    ]


def _frameworks() -> list[Row]:
    from adamw_scale.frameworks import FRAMEWORKS

    return [
        {
            "name": name,
            "convention": part.convention,
            "reads": part.reads or "not read",
            "schedules": " ".join(part.schedules),
            "proven": part.proven,
        }
        for name in FRAMEWORKS
        for part in [FRAMEWORKS[name]]
    ]


def _tasks() -> list[Row]:
    from adamw_scale.probe import TASKS

    known = {"char-lm": "a small GPT on bytes of text"}
    return [{"name": name, "summary": known.get(name, "from an installed package")} for name in TASKS]


def _engines() -> list[Row]:
    from adamw_scale.probe import ENGINES

    known = {
        "serial": "one probe after another in this process; the reference",
        "processes": "probes in worker processes, one per core",
    }
    return [{"name": name, "summary": known.get(name, "from an installed package")} for name in ENGINES]


KINDS: dict[str, Callable[[], list[Row]]] = {
    "rules": _rules,
    "schedules": _schedules,
    "conventions": _conventions,
    "parametrizations": _parametrizations,
    "laws": _laws,
    "frameworks": _frameworks,
    "tasks": _tasks,
    "engines": _engines,
}
