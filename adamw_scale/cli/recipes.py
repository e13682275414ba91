"""adamw-scale recipes: what others set, and where a run stands among them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any, NamedTuple, TypeVar

import typer

from adamw_scale.advisor.standing import Standing, standing_among
from adamw_scale.cli.run_flags import Given, run_from, run_options
from adamw_scale.cli.shared import JsonOption
from adamw_scale.cli.text import columns, labelled, paragraphs_of, styled
from adamw_scale.errors import SpecError
from adamw_scale.evidence import Neighbour, Recipe, TunedOptimum, nearest, tuned_optima
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
    names = {"family": family, "domain": domain, "optimizer": optimizer, "confidence": confidence}
    filters = {**names, "min_params": min_params, "max_params": max_params}
    if tuned:
        _refuse_beside_tuned({**filters, "near": near or None})
        _print(tuned_optima(text or ""), _tuned_answer, count, json)
    elif near:
        run = run_from(given)
        _print(_near(all_recipes(text, **filters), run), lambda shown: _near_answer(shown, run), count, json)
    else:
        _print(all_recipes(text, **filters), _answer, count, json)


class Answer(NamedTuple):
    """What is listed, as content of a JSON document and as paragraphs."""

    what: str
    content: dict[str, Any]
    paragraphs: list[str]


def _print(rows: Sequence[Row], answer: Callable[[Sequence[Row]], Answer], count: int, json: bool) -> None:
    """The first rows, and how many are left out."""
    shown = rows[: count or None]
    what, content, paragraphs = answer(shown)
    left_out = len(rows) - len(shown)
    more = f"; {left_out} more are left out, --count 0 shows all" if left_out else ""
    text = "\n\n".join([styled(f"{len(shown)} {what}", bold=True) + more, *paragraphs])
    print(to_json({"schema": SCHEMA, "left_out": left_out, **content}) if json else text)


def _refuse_beside_tuned(options: Mapping[str, object]) -> None:
    used = [f"--{name.replace('_', '-')}" for name, value in options.items() if value is not None]
    if used:
        raise SpecError(f"{used[0]} is for recipes, not for --tuned settings: drop one of the two, or filter by TEXT")


def _near(found: Sequence[Recipe], run: TrainingRun) -> Sequence[Neighbour]:
    """All of them that can be compared, nearest first; SpecError where none can."""
    neighbours = nearest(found, run)
    if not neighbours:
        raise SpecError(
            f"no recipe is left by --near: none of the {len(found)} before it is {run.task} in {run.unit}, as this run "
            "is. Drop a filter, or check --task and whether sizes are --tokens or --samples"
        )
    return neighbours


def _answer(shown: Sequence[Recipe]) -> Answer:
    paragraphs = [*_table(shown), paragraphs_of(LEGEND_OF_RECIPES), PRACTICE]
    return Answer("recipes", {"recipes": [_document(recipe) for recipe in shown]}, paragraphs)


def _near_answer(shown: Sequence[Neighbour], run: TrainingRun) -> Answer:
    """Recipes nearest to a run, and where it stands among them."""
    standing = standing_among(shown, run)
    rows = [{"distance": near.distance, **_document(near.recipe)} for near in shown]
    table = _table([near.recipe for near in shown], [near.distance for near in shown])
    paragraphs = [labelled("your run", _describe(standing)), *table, paragraphs_of(LEGEND_OF_NEAR), PRACTICE]
    return Answer("recipes, nearest first", {"recipes": rows, "run": run, "standing": standing}, paragraphs)


def _tuned_answer(shown: Sequence[TunedOptimum]) -> Answer:
    """Settings in which weight decay was tuned."""
    content = {"tuned_optima": [_tuned_document(optimum) for optimum in shown]}
    return Answer("tuned settings", content, [*_tuned_table(shown), paragraphs_of(LEGEND), TUNED])


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
