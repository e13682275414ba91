"""ladder(): each rung is the recommendation of its run; laws fill in the batch, then the learning rate."""

from typing import Any

import pytest

from adamw_scale import Calibration, Ladder, TrainingRun, ladder, recommend
from adamw_scale.advisor.inputs import run_calibrated, run_like
from adamw_scale.advisor.laws import laws_for
from adamw_scale.errors import MissingInputError, SpecError, UnknownNameError
from adamw_scale.spec.measurement import Optimum
from adamw_scale.spec.run import described_by
from adamw_scale.theory.lr_laws import LAWS
from adamw_scale.theory.parametrizations import PARAMETRIZATIONS

SIZES = [("100M", 768, 12), ("300M", 1024, 24), ("1B", 2048, 24), ("3B", 3072, 32)]
BASE = {"base_width": 256, "base_depth": 6}


def words(parametrization: str = "standard", **more: Any) -> list[dict[str, Any]]:
    """A rung for each size, with what its parametrization needs."""
    needs = PARAMETRIZATIONS[parametrization].needs
    base = {name: value for name, value in BASE.items() if name.removeprefix("base_") in needs}
    return [
        {
            "params": params,
            "width": width,
            "depth": depth,
            "tokens_per_param": 20,
            "parametrization": parametrization,
            **base,
            **more,
        }
        for params, width, depth in SIZES
    ]


@pytest.mark.parametrize("parametrization", PARAMETRIZATIONS)
@pytest.mark.parametrize("rule", [None, "power-lines"])
def test_each_rung_is_the_recommendation_of_its_run(parametrization: str, rule: str | None) -> None:
    """Nothing is added to what recommend says, and nothing lost; JSON gives the same ladder back."""
    said = words(parametrization, batch_size="0.5M", lr=3e-3)
    answer = ladder(said, rule)
    for rung, (params, width, depth) in zip(answer.rungs, SIZES, strict=True):
        run = TrainingRun(
            num_params=params,
            width=width,
            depth=depth,
            dataset_size=20 * TrainingRun(num_params=params, dataset_size=1e9, batch_size=1e6).num_params,
            batch_size="0.5M",
            peak_lr=3e-3,
            parametrization=parametrization,
            **{name: said[0].get(name) for name in BASE},
        )
        assert rung.recommendation == recommend(run, rule)
        assert (rung.name, rung.lr_law, rung.batch_law) == (params, None, None)
    assert Ladder.from_json(answer.to_json()) == answer
    assert ladder([rung.recommendation.run for rung in answer.rungs], rule) == answer


@pytest.mark.parametrize("name", [name for name, law in LAWS.items() if law.batch_size is not None])
@pytest.mark.parametrize("parametrization", ["standard", "mup", "completep"])
def test_a_law_fills_in_what_can_be_passed_back(name: str, parametrization: str) -> None:
    """Hidden matrices get the law's rate, to three digits; batch and base rate as printed give the same answer."""
    said = words(parametrization)
    answer = ladder(said, lr_law=name)
    for rung, each in zip(answer.rungs, said, strict=True):
        run = rung.recommendation.run
        params, tokens, law = float(run.num_params or 0), run.total_units, LAWS[name]
        assert law.batch_size is not None
        assert run.batch_size == pytest.approx(law.batch_size(params, tokens), rel=6e-3)
        assert rung.hidden.peak_lr == pytest.approx(law.peak_lr(params, tokens, run.batch_size), rel=6e-3)
        assert rung.lr_law == rung.batch_law == next(law for law in laws_for(run) if law.law == name)
        printed = {"lr": f"{run.lr:.3g}", "batch_size": f"{run.batch_size:.3g}"}
        again = ladder([{**each, **printed}]).rungs[0]
        assert again.recommendation == rung.recommendation


def test_a_law_that_depends_on_the_batch_gets_that_of_the_run() -> None:
    """The law of the Enoki models jumps between its two batches."""
    for batch in (65_536, 1_048_576):
        rung = ladder([{"params": "1B", "tokens": "20B", "batch_size": batch}], lr_law="adana-enoki").rungs[0]
        assert rung.recommendation.peak_lr == pytest.approx(LAWS["adana-enoki"].peak_lr(1e9, 2e10, batch), rel=6e-3)
        assert rung.batch_law is None


def test_the_first_law_in_whose_domain_a_rung_lies_fills_in() -> None:
    """Learning rate and batch are of one law; where laws differ between rungs, that is said once."""
    answer = ladder(words())
    for rung in answer.rungs:
        assert rung.lr_law is not None
        assert rung.lr_law == rung.batch_law
        inside = [law for law in laws_for(rung.recommendation.run) if law.in_domain]
        assert rung.lr_law == next(law for law in inside if law.batch_size is not None)
    (caution,) = [caution for caution in answer.cautions if caution.code == "several-laws"]
    assert caution.rungs == tuple(rung.name for rung in answer.rungs)
    assert not [each for each in ladder(words(), lr_law="step-law").cautions if each.code == "several-laws"]


def test_a_batch_of_a_law_is_whole_sequences() -> None:
    """Where their length is known."""
    rung = ladder([{"params": "1B", "tokens": "20B", "sequence_length": 4096}]).rungs[0]
    assert rung.batch_law is not None
    assert rung.recommendation.run.batch_size % 4096 == 0
    assert rung.recommendation.run.batch_size == pytest.approx(rung.batch_law.batch_size, abs=2048)


def test_a_reference_gives_batch_and_learning_rate_unless_a_law_is_asked_for() -> None:
    """As recommend does, whose rule carries the rate."""
    tuned = TrainingRun(dataset_size="3B", batch_size=2**18, peak_lr=2e-3, num_params="150M", weight_decay=0.1)
    said = {"params": "1B", "tokens": "20B"}
    rung = ladder([said], reference=tuned).rungs[0]
    assert rung.recommendation == recommend(run_like(tuned, described_by(said)), reference=tuned)
    assert rung.lr_law is None
    asked = ladder([said], reference=tuned, lr_law="step-law").rungs[0]
    assert asked.lr_law is not None
    assert asked.recommendation == recommend(asked.recommendation.run, reference=tuned)
    assert asked.recommendation.peak_lr != rung.recommendation.peak_lr


def test_a_calibration_is_taken_in_at_every_rung() -> None:
    """As recommend does."""
    probed = TrainingRun(dataset_size="0.2B", batch_size=2**17, peak_lr=2e-3, num_params="10M")
    optimum = Optimum(
        run=probed, timescale_run=0.1, log2_interval=(-3.6, -3.0), log2_probed=(-6, 0), status="located", loss=2.3
    )
    calibration = Calibration(task={"name": "char-lm"}, optima=(optimum,), probes={})
    answer = ladder(words(batch_size="0.5M", lr=1e-3), calibration=calibration)
    for rung in answer.rungs:
        assert rung.recommendation == recommend(rung.recommendation.run, calibration=calibration)
    assert ladder([{}], calibration=calibration).rungs[0].recommendation.run == run_calibrated(calibration, {})


def test_cautions_are_said_once() -> None:
    """Every caution of every rung is there under its code, with the rungs that have it."""
    answer = ladder(words("mup", batch_size="0.5M", lr=3e-3))
    codes = [caution.code for caution in answer.cautions]
    assert len(codes) == len(set(codes))
    for rung in answer.rungs:
        own = {caution.code for caution in rung.recommendation.cautions}
        assert own == {caution.code for caution in answer.cautions if rung.name in caution.rungs}
    (width,) = [caution for caution in answer.cautions if caution.code == "width-exponent"]
    assert width.message.startswith("at 3B: at 12 times the width")


def test_groups_that_differ_are_told_apart() -> None:
    """Under muP hidden matrices differ from the rest; under Complete(d)P the output goes with them."""
    alike = {name: ladder(words(name, batch_size="1M", lr=1e-3)).alike_groups for name in PARAMETRIZATIONS}
    assert alike["standard"] == (("hidden", "embedding", "output"),)
    assert alike["mup"] == (("hidden",), ("embedding", "output"))
    assert alike["complete-d-p"] == (("hidden", "output"), ("embedding",))


@pytest.mark.parametrize(
    ("varied", "names"),
    [
        ({"params": ["300M", "1.3B"]}, ["300M", "1.3B"]),
        ({"params": ["300M", "300M"]}, ["rung-1", "rung-2"]),
        ({"tokens": ["10B", "20B"]}, ["data-10B", "data-20B"]),
        ({"batch_size": ["0.25M", 2**19]}, ["batch-250000", "batch-524288"]),
        ({"lr": [3e-4, 1e-3]}, ["lr-0.0003", "lr-0.001"]),
        ({"epochs": [1, 2.5]}, ["epochs-1", "epochs-2.5"]),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_rung_is_named_after_what_tells_it_apart(varied: dict[str, list[Any]], names: list[str]) -> None:
    """Names serve as file names, so no two are alike."""
    same = {"params": "1B", "tokens": "20B", "batch_size": "0.5M", "lr": 1e-3}
    ((name, values),) = varied.items()
    assert [rung.name for rung in ladder([{**same, name: value} for value in values]).rungs] == names


RUN = {"params": "1B", "tokens": "20B"}
REFUSED: list[tuple[dict[str, Any], str | None, type[SpecError], str]] = [
    ({"tokens_per_param": 20}, None, MissingInputError, "--tokens-per-param needs the number of parameters"),
    ({"params": "1B", "tokens_per_param": 0}, None, SpecError, "--tokens-per-param = 0: it must be above 0"),
    ({"params": "1B", "tokens_per_param": "many"}, None, SpecError, "--tokens-per-param: 'many' is not a number"),
    ({"params": "1B", "tokens_per_param": 20, "unit": "samples"}, None, SpecError, "--unit says samples"),
    ({**RUN, "tokens-per-param": 20}, None, SpecError, "--tokens-per-param and --tokens both"),
    ({"params": "1B", "steps": 9, "tokens_per_param": 20}, None, SpecError, "--tokens-per-param and --steps both"),
    ({**RUN}, "step-lawn", UnknownNameError, "did you mean 'step-law'"),
    ({**RUN}, "adana-enoki", MissingInputError, "--lr-law adana-enoki gives no batch: pass --batch-size"),
    ({**RUN, "batch_size": "1M", "lr": 1e-3}, "step-law", SpecError, "--lr-law step-law has nothing to fill in"),
    ({"params": "1T", "tokens": "1B", "batch_size": "1M"}, None, MissingInputError, "outside the domain of every"),
    ({"tokens": "20B", "batch_size": "1M"}, None, MissingInputError, "--params is not given"),
    ({"params": "1B", "samples": "1M", "lr": 1e-3}, None, MissingInputError, "sizes are in samples"),
    ({**RUN, "batch_size": "1M", "task": "lora"}, None, MissingInputError, "--task is lora"),
    ({**RUN, "batch_size": "1M", "optimizer": "muon"}, None, MissingInputError, "--optimizer is muon"),
    ({"params": "1B"}, None, MissingInputError, "lacks dataset_size"),
    ({"params": "1B", "steps": "1k"}, None, MissingInputError, "--steps needs the batch size"),
    ({"params": "1B", "tokns": "1k"}, None, UnknownNameError, "did you mean 'tokens'"),
]


@pytest.mark.parametrize(("run", "law", "kind", "says"), REFUSED, ids=lambda value: str(value)[:40])
def test_what_cannot_be_is_refused(run: dict[str, Any], law: str | None, kind: type[SpecError], says: str) -> None:
    """One line with the flag and the fix."""
    with pytest.raises(SpecError, match=r".") as refusal:
        ladder([run], lr_law=law)
    assert type(refusal.value) is kind
    assert says in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_the_rung_that_is_wrong_is_named() -> None:
    """Where there are several."""
    good = {**RUN, "batch_size": "1M", "lr": 1e-3}
    with pytest.raises(SpecError, match=r"^rung 2 of 3: --batch-size"):
        ladder([good, {**good, "batch_size": "30B"}, good])
    with pytest.raises(MissingInputError, match="at least one"):
        ladder([])
