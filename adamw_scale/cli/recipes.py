"""adamw-scale recipes: what others set, and where a run stands among them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any, Generic, NamedTuple, TypeVar

import typer

from adamw_scale.advisor.standing import Standing, standing_among
from adamw_scale.cli.run_flags import Given, run_from, run_options
from adamw_scale.cli.shared import JsonOption
from adamw_scale.cli.text import columns, labelled, styled
from adamw_scale.errors import SpecError
from adamw_scale.evidence import Recipe, TunedOptimum, nearest, tuned_optima
from adamw_scale.evidence import recipes as all_recipes
from adamw_scale.evidence.recipe import UNSTATED_OCTAVES
from adamw_scale.evidence.tuned_optimum import WORDS
from adamw_scale.noun import flag, to_json
from adamw_scale.spec.run import TrainingRun
from adamw_scale.units import format_count, format_percent, format_share, format_significant

Row = TypeVar("Row")
SCHEMA = "adamw-scale/recipes/1"
COMPUTED = ("weight_decay_pytorch", "tau_iter", "tau_epoch", "tau_run", "tokens_per_param")
UNKNOWN = "-"
LEGEND = {
    "λ": "weight decay in PyTorch's convention",
    "τ": "timescale 1 / (lr·λ) as a share of the run (arXiv:2405.13698)",
}
LEGEND_OF_RECIPES = {**LEGEND, UNKNOWN: "not stated, or there is none: λ 0, or an optimizer that decays unlike AdamW"}
LEGEND_OF_NEAR = {
    **LEGEND_OF_RECIPES,
    "away": "octaves (factors of 2) over parameters, data seen, batch and epochs; "
    f"what a recipe does not state counts {UNSTATED_OCTAVES:g}",
}
PRACTICE = "Recipes are practice, mostly untuned; --tuned lists what was tuned."
TUNED = "Each λ was the best of a search; without --tuned, practice is listed."


@run_options
def command(
    given: Given,
    text: Annotated[
        str | None,
        typer.Argument(help="only recipes with this text in their name, family, source or note", metavar="TEXT"),
    ] = None,
    family: Annotated[str | None, typer.Option(help="Only this family: Pythia, OLMo2, ...", metavar="NAME")] = None,
    domain: Annotated[str | None, typer.Option(help="Only this domain: llm, vision, ...", metavar="NAME")] = None,
    optimizer: Annotated[str | None, typer.Option(help="Only this optimizer: AdamW, ...", metavar="NAME")] = None,
    confidence: Annotated[
        str | None, typer.Option(help="Only read-primary, read-secondary or memory.", metavar="NAME")
    ] = None,
    min_params: Annotated[str | None, typer.Option(help="Only models of at least this size: 1B.", metavar="N")] = None,
    max_params: Annotated[str | None, typer.Option(help="Only models of at most this size: 7B.", metavar="N")] = None,
    near: Annotated[
        bool, typer.Option("--near", help="Nearest to your run first, and where it stands; takes the run options.")
    ] = False,
    tuned: Annotated[
        bool, typer.Option("--tuned", help="The published settings in which weight decay was tuned, instead.")
    ] = False,
    count: Annotated[int, typer.Option(help="Show at most this many; 0 shows all.", min=0, metavar="N")] = 20,
    json: JsonOption = False,
) -> None:
    """What others set: public recipes with their weight decay, its timescale and the source.

    adamw-scale recipes --family pythia

    adamw-scale recipes llama --min-params 7B --json

    adamw-scale recipes --near --params 1.3B --tokens 26B --batch-size 0.5M --lr 3e-4 --weight-decay 0.1

    adamw-scale recipes --tuned

    Recipes are practice, not optima: most were never tuned. Compare timescales, not weight decays.
    """
    if given and not near:
        raise SpecError(
            f"{flag(TrainingRun, next(iter(given)))} describes a run to compare with: add --near to compare, or drop "
            "it; --min-params and --max-params filter by size"
        )
    filters = {
        "family": family,
        "domain": domain,
        "optimizer": optimizer,
        "confidence": confidence,
        "min_params": min_params,
        "max_params": max_params,
    }
    if tuned:
        _refuse_beside_tuned({**filters, "near": near or None})
        print(_tuned_answer(_shown(tuned_optima(text or ""), count), json))
        return
    found = all_recipes(text, **filters)
    print(_near_answer(found, run_from(given), count, json) if near else _answer(_shown(found, count), json))


def _refuse_beside_tuned(options: Mapping[str, object]) -> None:
    used = [f"--{name.replace('_', '-')}" for name, value in options.items() if value is not None]
    if used:
        raise SpecError(f"{used[0]} is for recipes, not for --tuned settings: drop one of the two, or filter by TEXT")


class Shown(NamedTuple, Generic[Row]):
    """The first rows of a list, and how many are left out."""

    rows: Sequence[Row]
    left_out: int

    def headline(self, what: str) -> str:
        """How many of what, and how to see the rest."""
        more = f"; {self.left_out} more are left out, --count 0 shows all" if self.left_out else ""
        return styled(f"{len(self.rows)} {what}", bold=True) + more

    def document(self, **content: Any) -> str:
        """The answer as JSON."""
        return to_json({"schema": SCHEMA, "left_out": self.left_out, **content})


def _shown(rows: Sequence[Row], count: int) -> Shown[Row]:
    shown = rows[: count or None]
    return Shown(shown, len(rows) - len(shown))


def _answer(shown: Shown[Recipe], json: bool) -> str:
    """Recipes in the order of the table."""
    if json:
        return shown.document(recipes=[_document(recipe) for recipe in shown.rows])
    parts = [shown.headline("recipes"), *_table(shown.rows), _legend(LEGEND_OF_RECIPES), PRACTICE]
    return "\n\n".join(parts)


def _near_answer(found: Sequence[Recipe], run: TrainingRun, count: int, json: bool) -> str:
    """Recipes nearest to a run, and where it stands among them."""
    neighbours = nearest(found, run)
    if not neighbours:
        raise SpecError(
            f"no recipe is left by --near: none of the {len(found)} before it is {run.task} in {run.unit}, as this run "
            "is. Drop a filter, or check --task and whether sizes are --tokens or --samples"
        )
    shown = _shown(neighbours, count)
    standing = standing_among(shown.rows, run)
    if json:
        rows = [{"distance": near.distance, **_document(near.recipe)} for near in shown.rows]
        return shown.document(recipes=rows, run=run, standing=standing)
    parts = [
        shown.headline("recipes, nearest first"),
        labelled("your run", _describe(standing)),
        *_table([near.recipe for near in shown.rows], [near.distance for near in shown.rows]),
        _legend(LEGEND_OF_NEAR),
        PRACTICE,
    ]
    return "\n\n".join(parts)


def _tuned_answer(shown: Shown[TunedOptimum], json: bool) -> str:
    """Settings in which weight decay was tuned."""
    if json:
        return shown.document(tuned_optima=[_tuned_document(optimum) for optimum in shown.rows])
    return "\n\n".join([shown.headline("tuned settings"), *_tuned_table(shown.rows), _legend(LEGEND), TUNED])


def _document(recipe: Recipe) -> dict[str, Any]:
    """Everything about a recipe, with what follows from it."""
    return {**asdict(recipe), **{name: getattr(recipe, name) for name in COMPUTED}}


def _tuned_document(optimum: TunedOptimum) -> dict[str, Any]:
    return {
        **{name: getattr(optimum, name) for name in WORDS},
        "run": optimum.run,
        "weight_decay_pytorch": optimum.run.current_weight_decay,
        "timescale": optimum.timescale,
    }


def _describe(standing: Standing) -> str:
    """The run's weight decay, its timescale, and how many recipes forget faster."""
    whose = "in use" if standing.rule is None else f"recommended by {standing.rule}"
    text = f"λ {format_significant(standing.weight_decay)} {whose}"
    if standing.timescale is None:
        return f"{text}: nothing decays, so it has no timescale"
    text += f": timescale {format_share(standing.timescale.run, 'the run')}"
    if standing.share_shorter is None:
        return f"{text}; none of these recipes has one to compare with"
    return f"{text}; shorter in {format_percent(standing.share_shorter)} of the {standing.compared} below that have one"


def _table(shown: Sequence[Recipe], away: Sequence[float] = ()) -> list[str]:
    """One line for each recipe, then the sources that these lines number."""
    sources = _numbered((recipe.confidence, recipe.source) for recipe in shown)
    units = {recipe.unit for recipe in shown}
    rows = [
        (
            recipe.name,
            _size(recipe.num_params),
            _size(recipe.total_units) + (f" {recipe.unit[:3]}" if len(units) > 1 and recipe.total_units else ""),
            _cell(recipe.peak_lr, lambda value: f"{value:.3g}"),
            _cell(recipe.weight_decay_pytorch, format_significant),
            _cell(recipe.tau_run, format_percent),
            *([f"{away[number]:.1f}"] if away else []),
            str(sources[recipe.confidence, recipe.source]),
        )
        for number, recipe in enumerate(shown)
    ]
    header = ("recipe", "params", units.pop() if len(units) == 1 else "seen", "lr", "λ", "τ")
    where = [(str(number), confidence, source) for (confidence, source), number in sources.items()]
    return [
        columns((*header, *(["away"] if away else []), "source"), rows),
        columns(("source", "how known", "where"), where),
    ]


def _tuned_table(shown: Sequence[TunedOptimum]) -> list[str]:
    sources = _numbered((optimum.source, optimum.grid) for optimum in shown)
    rows = [
        (
            optimum.name,
            _size(optimum.run.dataset_size),
            f"{optimum.run.epochs:.3g}",
            format_significant(optimum.run.current_weight_decay),
            format_percent(optimum.timescale.run),
            str(sources[optimum.source, optimum.grid]),
        )
        for optimum in shown
    ]
    where = [(str(number), f"{source}; search: {grid}") for (source, grid), number in sources.items()]
    return [
        columns(("tuned setting", "data", "epochs", "λ", "τ", "source"), rows),
        columns(("source", "where, and how it was tuned"), where),
    ]


def _legend(signs: Mapping[str, str]) -> str:
    return "\n".join(labelled(sign, meaning) for sign, meaning in signs.items())


def _numbered(keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """Numbers from 1 in the order of first appearance."""
    return {key: number for number, key in enumerate(dict.fromkeys(keys), start=1)}


def _size(value: float | None) -> str:
    """A count in three digits: 1.18B, 264k."""
    if value is not None and 1e3 <= value < 999.5e3:
        return f"{value / 1e3:.3g}k"
    return _cell(value, lambda known: format_count(float(f"{known:.3g}")))


def _cell(value: float | None, text: Callable[[float], str]) -> str:
    return UNKNOWN if value is None else text(value)
