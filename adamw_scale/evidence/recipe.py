"""Public training recipes, and those nearest to a run: practice, mostly untuned.

`recipes.csv` has one row per recipe, with its source and how that was read. An empty cell was not
stated there. Nothing computed is stored; it is a property here.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, NamedTuple, NoReturn

from adamw_scale.errors import SpecError, UnknownNameError
from adamw_scale.evidence.table import read_table
from adamw_scale.spec.run import TrainingRun
from adamw_scale.theory import timescale as ema
from adamw_scale.theory.conventions import Setting, to_pytorch
from adamw_scale.units import format_count, parse_quantity

# Decoupled decay, multiplied by the learning rate. "Adam(W)": the source leaves it open; read as AdamW.
ADAMW_LIKE = ("AdamW", "NadamW", "Adam(W)")
COMPARED = ("num_params", "total_units", "batch_size", "epochs")
UNSTATED_OCTAVES = 2.0
SEARCHED = ("name", "family", "source", "note")


@dataclass(frozen=True)
class Recipe:
    """A published training configuration, as its source states it; None where it does not.

    Sizes are in `unit` (tokens or samples): `dataset_size` unique ones, `total_units` with repeats,
    `batch_size` per optimizer step. Mixtures of experts count all parameters. `weight_decay` is the
    number in the recipe, in `convention`: a name in `adamw_scale.theory.conventions`, or what it is instead
    ("LAMB", "mup-base-lr"). `schedule` and `warmup` are free text. `confidence` is "read-primary"
    (read in the paper, code or logs), "read-secondary" (read in a copy or survey) or "memory".
    """

    name: str
    family: str
    domain: str
    num_params: float | None
    width: float | None
    depth: float | None
    dataset_size: float | None
    total_units: float | None
    unit: str
    epochs: float | None
    batch_size: float | None
    total_steps: float | None
    optimizer: str
    peak_lr: float | None
    final_lr: float | None
    schedule: str
    warmup: str
    weight_decay: float | None
    convention: str
    beta1: float | None
    beta2: float | None
    eps: float | None
    source: str
    confidence: str
    note: str

    @property
    def weight_decay_pytorch(self) -> float | None:
        """The decay that PyTorch's AdamW would be given, lr_t * λ per step; converted at peak_lr.

        None without a weight decay, where the optimizer's decay is not AdamW's (LAMB, Adafactor, Muon,
        Adam), and where the learning rate is not the one applied (muP base rates).
        """
        if self.optimizer not in ADAMW_LIKE or self.weight_decay is None:
            return None
        try:
            return to_pytorch(self.convention, self.weight_decay, Setting(self.peak_lr, self.total_steps))
        except SpecError:
            return None

    @property
    def tau_iter(self) -> float | None:
        """Timescale in optimizer steps: 1 / (peak_lr * weight_decay_pytorch), arXiv:2405.13698.

        None where the weight decay is zero or has no value in PyTorch's convention.
        """
        if self.peak_lr is None or not self.weight_decay_pytorch:
            return None
        return ema.tau_iter(self.peak_lr, self.weight_decay_pytorch)

    @property
    def tau_epoch(self) -> float | None:
        """Timescale in passes over the data: tau_run * epochs, arXiv:2405.13698."""
        return None if self.tau_run is None or self.epochs is None else self.tau_run * self.epochs

    @property
    def tau_run(self) -> float | None:
        """Timescale as a fraction of the run: tau_iter / total_steps, arXiv:2405.13698."""
        return _ratio(self.tau_iter, self.total_steps)

    @property
    def tokens_per_param(self) -> float | None:
        """Tokens seen in the whole run per parameter, repeats counted; None for samples."""
        return _ratio(self.total_units, self.num_params) if self.unit == "tokens" else None

    @property
    def task(self) -> str:
        """What `TrainingRun.task` calls it: "pretraining" or "finetuning", from the domain."""
        return "finetuning" if self.domain.endswith("finetuning") else "pretraining"


class Neighbour(NamedTuple):
    """A recipe and how far it is from a run, in octaves (factors of 2)."""

    distance: float
    recipe: Recipe


def recipes(
    text: str | None = None,
    *,
    family: str | None = None,
    domain: str | None = None,
    optimizer: str | None = None,
    confidence: str | None = None,
    min_params: str | float | None = None,
    max_params: str | float | None = None,
) -> tuple[Recipe, ...]:
    """Public recipes in the order of the table: all, or those that pass every filter given.

    `text` may stand in name, family, source or note; `family`, `domain`, `optimizer` and `confidence` are whole names;
    upper and lower case are one. Bounds of the parameters, such as "7B", leave out recipes that do not state them.

    Raises:
        UnknownNameError: no recipe has that name.
        SpecError: no recipe passes; the message says which filter left none, and what there was before it.

    Example:
        >>> [recipe.name for recipe in recipes(family="pythia", min_params="2B")]
        ['Pythia-2.8B', 'Pythia-6.9B', 'Pythia-12B']
    """
    found = _table()
    names = {"family": family, "domain": domain, "optimizer": optimizer, "confidence": confidence}
    for kind, name in names.items():
        found = found if name is None else _of_name(found, kind, name)
    for option, bound in {"--min-params": min_params, "--max-params": max_params}.items():
        found = found if bound is None else _of_size(found, option, bound)
    if text is None:
        return found
    kept = tuple(recipe for recipe in found if holds(recipe, SEARCHED, text))
    asked = f"{text[:60]!r} (searched in {', '.join(SEARCHED)})"
    return kept or _nothing_left(found, asked, f"family {listed(recipe.family for recipe in found)}")


@cache
def _table() -> tuple[Recipe, ...]:
    return read_table("recipes.csv", _recipe)


def _of_name(rows: tuple[Recipe, ...], kind: str, name: str) -> tuple[Recipe, ...]:
    known = {getattr(recipe, kind) for recipe in _table()}
    if name.casefold() not in {other.casefold() for other in known}:
        raise UnknownNameError(kind, name, known)
    kept = tuple(recipe for recipe in rows if getattr(recipe, kind).casefold() == name.casefold())
    return kept or _nothing_left(rows, f"--{kind} {name}", f"{kind} {listed(getattr(each, kind) for each in rows)}")


def _of_size(rows: tuple[Recipe, ...], option: str, size: str | float) -> tuple[Recipe, ...]:
    try:
        bound = parse_quantity(str(size))
    except SpecError as error:
        raise SpecError(f"{option}: {error}") from None
    stated = [(recipe.num_params, recipe) for recipe in rows if recipe.num_params is not None]
    kept = tuple(recipe for n, recipe in stated if (n >= bound if option == "--min-params" else n <= bound))
    sizes = [n for n, _ in stated]
    have = f"num_params {format_count(min(sizes))} to {format_count(max(sizes))}" if sizes else "no num_params"
    return kept or _nothing_left(rows, f"{option} {size}", have)


def _nothing_left(rows: tuple[Recipe, ...], asked: str, have: str) -> NoReturn:
    raise SpecError(f"no recipe is left by {asked}: the {len(rows)} before it have {have}. Change or drop a filter")


def holds(row: object, names: Iterable[str], text: str) -> bool:
    """Whether one of these attributes holds a text, in upper or lower case."""
    return any(text.casefold() in getattr(row, name).casefold() for name in names)


def listed(names: Iterable[str]) -> str:
    """Each name once, in the order of the alphabet."""
    return ", ".join(sorted(set(names), key=str.casefold))


def nearest(recipes: Iterable[Recipe], run: TrainingRun, count: int | None = None) -> tuple[Neighbour, ...]:
    """The recipes nearest to a run, nearest first; ties in the order given.

    Only recipes in the run's unit and of its task are compared. The distance is Euclidean in log2 of
    the quantities that the run states among parameters, total units, batch size and epochs. One that
    the recipe does not state counts 2 octaves, a factor of 4.

    Args:
        recipes: What to choose from.
        run: What to compare with.
        count: How many to return at most; None for all.
    """
    comparable = (recipe for recipe in recipes if (recipe.unit, recipe.task) == (run.unit, run.task))
    found = sorted((Neighbour(_distance(recipe, run), recipe) for recipe in comparable), key=lambda near: near.distance)
    return tuple(found[:count])


def _distance(recipe: Recipe, run: TrainingRun) -> float:
    pairs = [(getattr(recipe, name), getattr(run, name)) for name in COMPARED]
    return math.hypot(
        *(
            UNSTATED_OCTAVES if theirs is None else math.log2(theirs / ours)
            for theirs, ours in pairs
            if ours is not None
        )
    )


def _recipe(row: dict[str, str]) -> Recipe:
    values: dict[str, Any] = dict(row)
    for field in fields(Recipe):
        if field.type is not str:
            values[field.name] = float(row[field.name]) if row[field.name] else None
    return Recipe(**values)


def _ratio(part: float | None, whole: float | None) -> float | None:
    return None if part is None or whole is None else part / whole
