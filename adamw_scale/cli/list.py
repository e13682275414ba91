"""adamw-scale list: what there is, with sources."""

from collections.abc import Callable, Iterable
from typing import Annotated, Any

import typer

from adamw_scale.cli.text import columns, styled
from adamw_scale.errors import UnknownNameError
from adamw_scale.noun import to_json

Row = dict[str, Any]


def command(
    kind: Annotated[str | None, typer.Argument(help="one kind; all of them if none is named", metavar="[KIND]")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
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
    from adamw_scale.rules import RULES

    return [
        {
            "name": name,
            "formula": part.formula,
            "source": part.source,
            "certainty": part.certainty,
            "domain": part.fitted_on,
        }
        for name, part in RULES.items()
    ]


def _schedules() -> list[Row]:
    from adamw_scale.theory.schedules import OPTIONS, SCHEDULES

    return [
        {"name": name, "options": " ".join(OPTIONS[option] for option in kind.takes), "shape": kind.summary}
        for name, kind in SCHEDULES.items()
    ]


def _conventions() -> list[Row]:
    from adamw_scale.theory.conventions import CONVENTIONS

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
    from adamw_scale.theory.parametrizations import PARAMETRIZATIONS

    return [{"name": name, "summary": part.summary, "source": part.source} for name, part in PARAMETRIZATIONS.items()]


def _laws() -> list[Row]:
    from adamw_scale.theory.lr_laws import LAWS

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
        for name, part in FRAMEWORKS.items()
    ]


def _tasks() -> list[Row]:
    from adamw_scale.training.tasks import TASKS

    known = {
        "char-lm": "a small GPT on bytes of text, or on tokens",
        "byte-mlp": "an MLP that reads 16 bytes of text and predicts the next",
        "mlp": "an MLP on rows of a table",
        "vit": "a vision transformer on images",
        "resnet": "a small residual network on images",
        "module": "your own torch module: --task package.module:attribute",
        "command": "your own script: --command 'python train.py --lr {lr} ...'",
    }
    return _named(TASKS, known)


def _engines() -> list[Row]:
    from adamw_scale.probe.engines import ENGINES

    known = {
        "serial": "one batch of probes after another in this process; the reference",
        "processes": "worker processes, one per core or GPU",
        "ray": "a Ray cluster, or a Ray of this machine's: pip install 'adamw-scale[ray]'",
        "slurm": "Slurm jobs, through submitit: pip install 'adamw-scale[slurm]'",
    }
    return _named(ENGINES, known)


def _trackers() -> list[Row]:
    from adamw_scale.probe.trackers import TRACKERS

    known = {
        "tensorboard": "event files in the calibration folder",
        "wandb": "Weights & Biases, online or offline",
        "mlflow": "an MLflow server, or a database in the calibration folder",
        "trackio": "Trackio, on this machine or in a Space",
    }
    return _named(TRACKERS, known)


def _named(names: Iterable[str], known: dict[str, str]) -> list[Row]:
    """Parts that take seconds to import are described here, not by themselves."""
    return [{"name": name, "summary": known.get(name, "from an installed package")} for name in names]


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
