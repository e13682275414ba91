"""Public recipes: the table and what follows from it, the nearest ones, and the command that shows them."""

import csv
import json
import math
import statistics
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files

import pytest
from conftest import Command

from adamw_scale import recommend
from adamw_scale.evidence import Recipe, nearest, recipes, tuned_optima
from adamw_scale.evidence.recipe import UNSTATED_OCTAVES
from adamw_scale.rules.power_lines import PowerLines
from adamw_scale.spec.run import TASKS, UNITS, TrainingRun

RECIPES = recipes()
BY_NAME = {recipe.name: recipe for recipe in RECIPES}
RUN = ["--params", "1.3B", "--tokens", "26B", "--batch-size", "0.5M", "--lr", "3e-4"]
RUN_OF_SAMPLES = ["--samples", "1.28M", "--epochs", "90", "--batch-size", "1024", "--lr", "1e-3"]
THE_RUN = TrainingRun(dataset_size="26B", batch_size="0.5M", peak_lr=3e-4, num_params="1.3B")


def ratio_to_power_lines(recipe: Recipe) -> float | None:
    """How much longer a language model's timescale is than the published law asks for."""
    if recipe.domain != "llm" or recipe.tau_run is None or recipe.tokens_per_param is None:
        return None
    return recipe.tau_run / PowerLines().tau_run(recipe.tokens_per_param)


def test_table_is_complete_and_sourced() -> None:
    """148 recipes with names of their own, each with a source and how it was read."""
    assert len(RECIPES) == len(BY_NAME) == 148
    assert all(recipe.source and recipe.family and recipe.domain and recipe.optimizer for recipe in RECIPES)
    assert {recipe.unit for recipe in RECIPES} == set(UNITS)
    assert {recipe.task for recipe in RECIPES} <= set(TASKS)
    read = Counter(recipe.confidence for recipe in RECIPES)
    assert read == {"read-primary": 103, "read-secondary": 24, "memory": 21}


def test_table_says_what_a_weight_decay_means_where_there_is_one() -> None:
    """A convention stands beside every weight decay, and beside nothing else."""
    assert all((recipe.weight_decay is None) == (recipe.convention == "") for recipe in RECIPES)
    assert {recipe.convention for recipe in RECIPES} == {"", "pytorch", "independent", "LAMB", "mup-base-lr"}


def test_numbers_of_a_recipe_agree() -> None:
    """Steps, batch and total, and epochs and total, are one run; nothing is rounded away."""
    for recipe in RECIPES:
        if recipe.total_steps is not None:
            assert recipe.total_steps * recipe.batch_size == pytest.approx(recipe.total_units, rel=1e-4), recipe.name
        if recipe.epochs is not None:
            assert recipe.epochs * recipe.dataset_size == pytest.approx(recipe.total_units, rel=0.06), recipe.name


def test_names_and_sources_fit_a_terminal() -> None:
    """What the command prints in 80 columns is bounded by the table."""
    assert max(len(recipe.name) for recipe in RECIPES) <= 22
    assert max(len(word) for recipe in RECIPES for word in recipe.source.split()) <= 50


def test_table_stores_facts_only() -> None:
    """The columns are the fields; what follows from them is computed."""
    with files("adamw_scale.evidence").joinpath("recipes.csv").open(encoding="utf-8") as file:
        assert next(csv.reader(file)) == list(Recipe.__dataclass_fields__)


@pytest.mark.parametrize(
    ("name", "weight_decay", "tau_iter", "tau_epoch", "tau_run", "tokens_per_param"),
    [
        ("OLMo-1B (0724-era v1)", 0.1, 25000, None, 0.0338145, 2627.94),
        ("StableLM-3B-4E1T", 0.1, 31250, 0.13089, 0.0327225, 1430.56),
        ("big_vision ViT-S/16", 0.1, 10000, 7.99271, 0.0888079, None),  # 1e-4 independent at lr 1e-3
        ("L&H Shake-Shake", 0.029814, 33541.3, 85.8657, 0.0477032, None),
        ("GPT-NeoX-20B", 0.01, 1.03093e6, None, 6.87285, 23.625),
        ("MPT yaml 1B", 0.0, None, None, None, 20.0036),
        ("torchtune recipes", 0.01, None, None, None, None),
        ("Llama-3-8B", 0.1, 1 / 3e-5, None, None, 1875),
    ],
)
def test_timescales_follow(
    name: str,
    weight_decay: float,
    tau_iter: float | None,
    tau_epoch: float | None,
    tau_run: float | None,
    tokens_per_param: float | None,
) -> None:
    """2405.13698: 1 / (lr * λ) steps; None where something is not stated or nothing decays."""
    recipe = BY_NAME[name]
    computed = (recipe.weight_decay_pytorch, recipe.tau_iter, recipe.tau_epoch, recipe.tau_run, recipe.tokens_per_param)
    for value, expected in zip(computed, (weight_decay, tau_iter, tau_epoch, tau_run, tokens_per_param), strict=True):
        assert value == (expected if expected is None else pytest.approx(expected, rel=1e-4))


@pytest.mark.parametrize("name", ["DeiT-III ViT-B", "PaLM-540B", "Moonlight-16B", "MiniCPM-2.4B", "MT-NLG-530B"])
def test_other_optimizers_have_no_timescale(name: str) -> None:
    """LAMB, Adafactor, Muon, Adam and muP base rates are not 1 / (lr * λ)."""
    assert BY_NAME[name].weight_decay_pytorch is BY_NAME[name].tau_iter is BY_NAME[name].tau_run is None


@pytest.mark.parametrize(
    ("chosen", "rows", "median"),
    [
        (lambda recipe: True, 93, 2.17),
        (lambda recipe: 20 <= recipe.tokens_per_param <= 1280, 65, 2.29),
        (lambda recipe: recipe.family == "Cerebras-GPT", 7, 7.9),
        (lambda recipe: recipe.family == "Pythia", 9, 5.3),
        (lambda recipe: recipe.family == "OPT", 9, 2.9),
        (lambda recipe: recipe.family == "SmolLM", 7, 2.6),
        (lambda recipe: recipe.family == "BLOOM", 6, 2.1),
        (lambda recipe: recipe.family == "DCLM", 5, 0.98),
    ],
)
def test_recipes_against_power_lines(chosen: Callable[[Recipe], bool], rows: int, median: float) -> None:
    """Language models in use carry about half the decay that 2505.13738 asks for; studies are not in use."""
    used = [recipe for recipe in RECIPES if recipe.family not in ("tuned-study", "study-default")]
    ratios = [ratio for recipe in used if (ratio := ratio_to_power_lines(recipe)) is not None and chosen(recipe)]
    assert len(ratios) == rows
    assert statistics.median(ratios) == pytest.approx(median, abs=0.06 if median > 3 else 0.01 if median < 1 else 0.05)


def test_nearest_is_euclidean_in_octaves() -> None:
    """Factors of 2 in what both state; what the recipe does not state counts 2 octaves."""
    twin = replace(RECIPES[0], num_params=1.3e9, total_units=26e9, batch_size=5e5, epochs=1.0)
    larger = replace(twin, num_params=2.6e9, total_units=26e9 * 4, batch_size=2.5e5, name="larger")
    silent = replace(twin, epochs=None, batch_size=None, name="silent")
    found = nearest([silent, larger, twin], THE_RUN)
    assert [near.recipe.name for near in found] == [twin.name, "larger", "silent"]
    assert [near.distance for near in found] == pytest.approx(
        [0, math.sqrt(1 + 4 + 1), UNSTATED_OCTAVES * math.sqrt(2)]
    )


def test_nearest_compares_only_what_the_run_states() -> None:
    """Without parameters, those of recipes do not matter."""
    small, large = (replace(RECIPES[0], num_params=size, epochs=1.0) for size in (1e6, 1e12))
    run = TrainingRun(dataset_size=RECIPES[0].total_units, batch_size=RECIPES[0].batch_size, peak_lr=3e-4)
    assert [near.distance for near in nearest([small, large], run)] == pytest.approx([0, 0])


def test_nearest_is_deterministic_and_of_the_runs_kind() -> None:
    """Ties keep their order; other units and tasks are not compared; count bounds the answer."""
    found = nearest(RECIPES, THE_RUN)
    assert all(near.recipe.unit == "tokens" and near.recipe.task == "pretraining" for near in found)
    assert [near.distance for near in found] == sorted(near.distance for near in found)
    assert nearest(RECIPES, THE_RUN, 5) == found[:5]
    twins = [replace(RECIPES[0], name=name) for name in "bac"]
    assert [near.recipe.name for near in nearest(twins, THE_RUN)] == ["b", "a", "c"]


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        (["--count", "0"], 148),
        ([], 20),
        (["--family", "pythia"], 9),
        (["--family", "LLaMA", "--count", "0"], 9),
        (["--domain", "vision-finetuning"], 3),
        (["--optimizer", "nadamw"], 2),
        (["--confidence", "memory", "--count", "0"], 21),
        (["--min-params", "100B", "--max-params", "200B", "--family", "OPT"], 1),
        (["ARXIV:2405.13698"], 3),
        (["quarter of OpenWebText"], 1),
        (["deepseek", "--max-params", "20B", "--count", "3"], 3),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_filters(adamw_scale: Command, arguments: list[str], count: int) -> None:
    """Each filter narrows the list; names are read in upper and lower case."""
    outcome = adamw_scale("recipes", *arguments, "--json")
    document = json.loads(outcome.out)
    assert (outcome.code, outcome.err) == (0, "")
    assert document["schema"] == "adamw-scale/recipes/1"
    assert len(document["recipes"]) == count


def test_recipes_for_people(adamw_scale: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """λ and timescale to two digits, numbered sources with how they are known, what was left out, what it is worth."""
    monkeypatch.setenv("COLUMNS", "80")
    outcome = adamw_scale("recipes", "--family", "cerebras-gpt", "--count", "3")
    lines = outcome.out.splitlines()
    assert lines[0] == "3 recipes; 4 more are left out, --count 0 shows all"
    assert [line.split() for line in lines[2:5]] == [
        ["recipe", "params", "tokens", "lr", "λ", "τ", "source"],
        ["Cerebras-GPT-111M", "111M", "2.22B", "0.0006", "0.1", "180", "%", "1"],
        ["Cerebras-GPT-256M", "256M", "5.12B", "0.0006", "0.1", "180", "%", "2"],
    ]
    assert "1       memory        Cerebras-GPT, arXiv:2304.03208" in outcome.out
    assert "2       read-primary  Cerebras-GPT, arXiv:2304.03208" in outcome.out
    assert lines[-1] == "Recipes are practice, mostly untuned; --tuned lists what was tuned."


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--near", *RUN],
        ["--near", *RUN_OF_SAMPLES],
        [
            "--near",
            "--params",
            "1e15",
            "--tokens",
            "1e15",
            "--batch-size",
            "1",
            "--lr",
            "1e-3",
            "--weight-decay",
            "1e-9",
        ],
        ["--near", "--task", "finetuning", *RUN],
        ["--tuned"],
    ],
    ids=" ".join,
)
def test_fits_80_columns(adamw_scale: Command, monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    """The longest table of each kind is no wider than a terminal."""
    monkeypatch.setenv("COLUMNS", "80")
    outcome = adamw_scale("recipes", *arguments, "--count", "0")
    assert outcome.code == 0
    assert max(map(len, outcome.out.splitlines())) <= 80


def test_json_is_unrounded_and_computed(adamw_scale: Command) -> None:
    """Facts and what follows from them, null where nothing is known."""
    (row,) = json.loads(adamw_scale("recipes", "AugReg", "--json").out)["recipes"]
    recipe = BY_NAME["AugReg ViT-B i21k"]
    assert (row["weight_decay"], row["convention"], row["eps"]) == (1e-4, "independent", None)
    assert row["weight_decay_pytorch"] == pytest.approx(0.1)
    assert (row["tau_iter"], row["tau_epoch"], row["tau_run"]) == (recipe.tau_iter, recipe.tau_epoch, recipe.tau_run)
    assert row["tokens_per_param"] is None


def test_near_says_where_the_run_stands(adamw_scale: Command) -> None:
    """Nearest first; the recommendation's timescale, and how many of the shown recipes have a shorter one."""
    document = json.loads(adamw_scale("recipes", "--near", *RUN, "--count", "10", "--json").out)
    expected = nearest(RECIPES, THE_RUN, 10)
    assert [row["name"] for row in document["recipes"]] == [near.recipe.name for near in expected]
    assert [row["distance"] for row in document["recipes"]] == pytest.approx([near.distance for near in expected])
    standing = document["standing"]
    taus = [near.recipe.tau_run for near in expected if near.recipe.tau_run is not None]
    assert standing["rule"] == "law"
    assert standing["timescale"]["run"] == pytest.approx(recommend(THE_RUN).timescale.run)
    assert standing["compared"] == len(taus)
    assert standing["share_shorter"] == sum(tau < standing["timescale"]["run"] for tau in taus) / len(taus)
    assert document["run"]["num_params"] == 1.3e9


def test_near_judges_the_decay_in_use(adamw_scale: Command) -> None:
    """--weight-decay takes the recommendation's place, in its own convention; without decay there is no timescale."""
    use = ["--weight-decay", "3e-5", "--convention", "independent"]
    standing = json.loads(adamw_scale("recipes", "--near", *RUN, *use, "--json").out)["standing"]
    assert standing["rule"] is None
    assert standing["weight_decay"] == pytest.approx(0.1)
    assert standing["timescale"]["run"] == pytest.approx(1 / (3e-4 * 0.1 * 52000))
    assert "λ 0.1 in use: timescale 64 % of the run" in adamw_scale("recipes", "--near", *RUN, *use).out
    none = json.loads(adamw_scale("recipes", "--near", *RUN, "--weight-decay", "0", "--json").out)["standing"]
    assert none["timescale"] is none["share_shorter"] is None


def test_near_is_filtered_too(adamw_scale: Command) -> None:
    """The nearest of a family, and only recipes counted as the run is."""
    document = json.loads(adamw_scale("recipes", "--near", *RUN, "--family", "Pythia", "--json").out)
    assert [row["name"] for row in document["recipes"]][:2] == ["Pythia-1.4B", "Pythia-1B"]
    rows = json.loads(adamw_scale("recipes", "--near", *RUN_OF_SAMPLES, "--json").out)["recipes"]
    assert rows[0]["name"] == "big_vision ViT-S/16"
    assert {row["unit"] for row in rows} == {"samples"}


def test_tuned_settings(adamw_scale: Command) -> None:
    """The other table, with what was searched, and its own text filter."""
    document = json.loads(adamw_scale("recipes", "--tuned", "--count", "0", "--json").out)
    assert len(document["tuned_optima"]) == len(tuned_optima()) == 49
    assert document["tuned_optima"][0]["timescale"]["run"] == tuned_optima()[0].timescale.run
    outcome = adamw_scale("recipes", "openwebtext", "--tuned")
    assert outcome.out.startswith("3 tuned settings\n")
    assert "factor 2 in wd, lr fixed" in " ".join(outcome.out.split())


BAD = [
    (["--family", "pythai"], "did you mean 'Pythia'"),
    (["--domain", "visoin"], "did you mean 'vision'? known: finetuning, llm,"),
    (["--confidence", "certain"], "unknown confidence 'certain': known: memory, read-primary, read-secondary"),
    (["--optimizer", "SGD"], "unknown optimizer 'SGD'"),
    (["--family", "Pythia", "--domain", "vision"], "--domain vision: the 9 before it have domain llm."),
    (
        ["--min-params", "1T"],
        "no recipe is left by --min-params 1T: the 148 before it have num_params 270,000 to 671B",
    ),
    (["--family", "finetuning", "--min-params", "1B"], "have no num_params"),
    (["--min-params", "big"], "--min-params: 'big' is not a number"),
    (["no such recipe"], "'no such recipe' (searched in name, family, source, note)"),
    (["--tuned", "no such setting"], "have task AlgoPerf criteo1tb, AlgoPerf imagenet_vit,"),
    (["--tuned", "--family", "Pythia"], "--family is for recipes, not for --tuned"),
    (["--tuned", "--near", *RUN], "--near is for recipes, not for --tuned"),
    (RUN, "--tokens describes a run to compare with: add --near"),
    (["--near"], "--tokens or --samples"),
    (["--near", *RUN[:-2]], "pass --lr"),
    (["--near", *RUN, "--family", "DeiT"], "pretraining in tokens"),
    (["--near", *RUN, "--lr", "nan"], "peak_lr"),
    (["--count", "-1"], "--count"),
    (["--count", "many"], "--count"),
    (["one", "two"], "two"),
]


@pytest.mark.parametrize(
    ("arguments", "message"), BAD, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_bad_input_is_one_line(adamw_scale: Command, arguments: list[str], message: str) -> None:
    """Status 2, nothing on stdout, one line on stderr that names the filter and what there is."""
    outcome = adamw_scale("recipes", *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.count("\n") == 1
    assert message in outcome.err


def test_help_teaches(adamw_scale: Command) -> None:
    """Examples, and how far to trust a recipe."""
    outcome = adamw_scale("recipes", "--help")
    assert outcome.code == 0
    assert "adamw-scale recipes --family pythia" in outcome.out
    assert "practice, not optima" in outcome.out
