"""The design of a sweep, on planted basins: what it asks for, in which order, and when it stops."""

import random
from typing import Any

import pytest
from conftest import PlantedEngine

from adamw_scale import TrainingRun
from adamw_scale.errors import CalibrationError, SpecError
from adamw_scale.probe.sweep import Sweep
from adamw_scale.spec.measurement import ProbeConfig, ProbeResult
from adamw_scale.theory.basin import Basin, fit_basin
from adamw_scale.training.tasks.task import TaskSource

RUN = TrainingRun(dataset_size=16384, batch_size=256, epochs=32, peak_lr=2e-3, num_params=42144)


def sweep(**changes: Any) -> Sweep:
    """A sweep over the byte run."""
    return Sweep(task={"name": "planted"}, run=RUN, **changes)


def finish(design: Sweep, engine_type: type[PlantedEngine]) -> dict[str, ProbeResult]:
    """Run a design to its end with an engine that trains nothing."""
    results: dict[str, ProbeResult] = {}
    engine = engine_type(TaskSource("planted"), 1, {})
    while missing := design.missing(results):
        assert len(results) < 100
        for (result,) in engine.run([[config] for config in missing], lambda progress: None):
            results[result.key] = result
    return results


@pytest.mark.parametrize("minimum", [-4.7, -3.0, -2.4, -1.5, 0.4, 1.2])
def test_probes_gather_around_the_minimum(planted: type[PlantedEngine], minimum: float) -> None:
    """Every second octave, refined: on every seed that is used there are half octaves on both sides of the minimum."""
    planted.minimum = minimum
    seen = sweep().seen(finish(sweep(), planted))
    assert 14 <= len(seen) <= 23
    for seed in {seed for seed, _ in seen}:
        probed = sorted(x for s, x in seen if s == seed)
        assert max(x for x in probed if x <= minimum) >= minimum - 0.5
        assert min(x for x in probed if x >= minimum) <= minimum + 0.5


def test_nothing_is_fitted_twice(planted: type[PlantedEngine], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every stage is planned from the first one on, but a basin that was fitted is known."""
    fitted: list[int] = []

    def counted(x: Any, seed: Any, loss: Any) -> Basin:
        fitted.append(len(x))
        return fit_basin(x, seed, loss)

    monkeypatch.setattr("adamw_scale.probe.search.fit_basin", counted)
    planted.noise = 0.0123  # no other test's basin
    finish(sweep(), planted)
    assert fitted
    assert len(fitted) == len(set(fitted))


@pytest.mark.parametrize(("minimum", "end"), [(9.0, 4.0), (-12.0, -6.0)])
def test_a_minimum_beyond_the_limits_is_followed_to_the_end(
    planted: type[PlantedEngine], minimum: float, end: float
) -> None:
    """The end is moved out as far as it may."""
    planted.minimum = minimum
    seen = sweep().seen(finish(sweep(), planted))
    assert {(seed, end) for seed, _ in seen} <= set(seen)
    assert all(-6.0 <= x <= 4.0 for _, x in seen)


def test_seeds_are_added_where_they_pay(planted: type[PlantedEngine]) -> None:
    """A clear basin is settled by two seeds; a noisy one takes them all."""
    many = {"seeds": (0, 1, 2, 3, 4)}
    planted.noise = 0.0005
    assert len({seed for seed, _ in sweep(**many).seen(finish(sweep(**many), planted))}) == 2
    planted.noise = 0.05
    assert len({seed for seed, _ in sweep(**many).seen(finish(sweep(**many), planted))}) == 5


@pytest.mark.parametrize("most", [7, 8, 9, 13, 18])
def test_a_budget_is_kept(planted: type[PlantedEngine], most: int) -> None:
    """No more probes than asked for, and no fewer where the sweep would go on."""
    planted.noise = 0.05
    design = sweep(most=most)
    assert len(finish(design, planted)) == most
    assert design.search.likely == most


def test_a_budget_that_locates_nothing_is_refused() -> None:
    """Five coarse points and no refinement are no search."""
    with pytest.raises(SpecError, match="at least 7 are needed"):
        sweep(most=6)


def test_another_metric_is_searched(planted: type[PlantedEngine]) -> None:
    """Any number that probes measure, minimised or maximised; one they do not measure is named."""

    class WithAccuracy(planted):  # type: ignore[valid-type, misc]
        def result(self, config: ProbeConfig, listener: Any) -> ProbeResult:
            result: ProbeResult = super().result(config, listener)
            accuracy = 1 - 0.01 * (config.log2_tau - 1.0) ** 2
            return result.model_copy(update={"metrics": {"accuracy": accuracy}})

    design = sweep(metric="accuracy", maximize=True)
    seen = design.seen(finish(design, WithAccuracy))
    assert (1, 1.0) in seen
    with pytest.raises(CalibrationError, match="measured no 'f1', only loss, accuracy"):
        finish(sweep(metric="f1"), WithAccuracy)


def test_nothing_is_run_twice(planted: type[PlantedEngine]) -> None:
    """Each stage asks only for what is missing."""
    finish(sweep(), planted)
    assert len(planted.trained) == len(set(planted.trained))


@pytest.mark.parametrize("minimum", [-2.4, -2.6, -2.8, -1.3, -3.5])
def test_any_part_of_the_results_leads_to_the_same_sweep(planted: type[PlantedEngine], minimum: float) -> None:
    """Whatever subset of probes survived, in whatever order, the sweep asks for exactly the others and no more."""
    planted.minimum = minimum
    design = sweep()
    whole = finish(design, planted)
    shuffle = random.Random(0)
    for size in range(0, len(whole), 3):
        results = dict(shuffle.sample(sorted(whole.items()), size))
        engine = planted(TaskSource("planted"), 1, {})
        while missing := design.missing(results):
            assert {config.key for config in missing} <= set(whole) - set(results)
            # One probe at a time: the process may die after any of them.
            results |= {result.key: result for (result,) in engine.run([missing[:1]], lambda progress: None)}
        assert design.seen(results) == design.seen(whole)


def test_later_seeds_go_where_the_earlier_ones_point(planted: type[PlantedEngine]) -> None:
    """The first seed's minimum may be unlucky: the window follows the fit over all seeds so far."""

    class FirstSeedElsewhere(planted):  # type: ignore[valid-type, misc]
        def loss(self, x: float, seed: int) -> float:
            return float(super().loss(x + 1.0 if seed == 0 else x, seed))

    design = sweep(seeds=(0, 1, 2, 3))
    seen = design.seen(finish(design, FirstSeedElsewhere))
    assert max(x for s, x in seen if s == 3) > max(x for s, x in seen if s == 1)


def test_keys_name_contents() -> None:
    """Equal probes have equal keys; seed, decay, run, device and data each change them."""
    a, b = sweep(), sweep()
    assert a.config(0, -2.0).key == b.config(0, -2.0).key
    longer = Sweep(task={"name": "planted"}, run=RUN.model_copy(update={"epochs": 33.0}))
    other_data = Sweep(task={"name": "planted", "data_sha256": "1"}, run=RUN)
    keys = {
        a.config(0, -2.0).key,
        a.config(1, -2.0).key,
        a.config(0, -2.5).key,
        sweep(device="cuda").config(0, -2.0).key,
        longer.config(0, -2.0).key,
        other_data.config(0, -2.0).key,
    }
    assert len(keys) == 6


def test_key_of_a_known_probe_never_changes() -> None:
    """Stored probes must still be found after an update."""
    assert sweep().config(0, -2.0).key == "2f56c8ba28e8aaa7"


def test_a_probe_has_the_timescale_it_was_asked_for() -> None:
    """From log2 tau to a weight decay and back."""
    assert sweep().config(0, -2.5).log2_tau == pytest.approx(-2.5)


def test_a_short_probe_starts_where_it_can(planted: type[PlantedEngine]) -> None:
    """48 steps hold no timescale of a 64th of the run: the grid starts later, and the sweep ends."""
    short = Sweep(task={"name": "planted"}, run=RUN.model_copy(update={"dataset_size": 4096.0, "epochs": 3.0}))
    assert short.search.coarse == (0.0, 2.0)
    results = finish(short, planted)
    assert min(result.config.log2_tau for result in results.values()) >= short.low


def test_one_seed_measures_no_noise() -> None:
    """An interval needs at least two seeds."""
    with pytest.raises(SpecError, match="--seeds"):
        sweep(seeds=(0,))


def test_too_short_a_probe_is_refused() -> None:
    """Ten steps cannot be swept over octaves of a timescale."""
    with pytest.raises(SpecError, match=r"too short|shrinks"):
        Sweep(task={"name": "planted"}, run=RUN.model_copy(update={"epochs": 0.2}))


@pytest.mark.parametrize("unit", ["tokens", "samples"])
@pytest.mark.parametrize("betas", [(0.9, 0.95), (0.9, 0.999)])
def test_a_configuration_travels_whole(unit: str, betas: tuple[float, float]) -> None:
    """Written as JSON and read again it is the same probe, also where a default depends on the unit."""
    run = TrainingRun(unit=unit, dataset_size=4096, batch_size=64, peak_lr=1e-3, betas=betas)
    config = ProbeConfig(task={"name": "planted"}, run=run, seed=1)
    again = ProbeConfig.model_validate_json(config.model_dump_json())
    assert again == config
    assert again.key == config.key
