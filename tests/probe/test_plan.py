"""The design of a sweep, on planted basins: what it asks for, in which order, and when it stops."""

import random
from typing import Any

import pytest
from conftest import PlantedEngine

from adamw_scale import TrainingRun
from adamw_scale.errors import SpecError
from adamw_scale.probe.plan import ProbeConfig, ProbeResult, Sweep, describe_cost
from adamw_scale.probe.tasks.task import TaskSource

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
def test_window_lies_around_the_minimum(planted: type[PlantedEngine], minimum: float) -> None:
    """Every second octave, refined: the window holds the planted minimum, on every seed."""
    planted.minimum = minimum
    design = sweep()
    results = finish(design, planted)
    seen = design.seen(results)
    window = design.window(seen)
    assert len(window) == 5
    assert window[0] <= minimum <= window[-1]
    assert {(seed, x) for seed in design.seeds for x in window} <= set(seen)
    assert not design.at_edge(seen)
    assert 9 <= len(results) <= 23


@pytest.mark.parametrize("minimum", [9.0, -12.0])
def test_a_minimum_beyond_the_limits_is_an_edge(planted: type[PlantedEngine], minimum: float) -> None:
    """The end is moved out as far as it may; then the answer is 'edge'."""
    planted.minimum = minimum
    design = sweep()
    assert design.at_edge(design.seen(finish(design, planted)))


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
    for size in range(len(whole)):
        results = dict(shuffle.sample(sorted(whole.items()), size))
        engine = planted(TaskSource("planted"), 1, {})
        while missing := design.missing(results):
            assert {config.key for config in missing} <= set(whole) - set(results)
            # One probe at a time: the process may die after any of them.
            results |= {result.key: result for (result,) in engine.run([missing[:1]], lambda progress: None)}
        assert design.seen(results) == design.seen(whole)


def test_the_window_moves_where_the_mean_over_seeds_falls(planted: type[PlantedEngine]) -> None:
    """The first seed's minimum may be unlucky: the window follows the mean."""

    class FirstSeedElsewhere(planted):  # type: ignore[valid-type, misc]
        def loss(self, x: float, seed: int) -> float:
            return float(super().loss(x + 2.0 if seed == 0 else x, seed))

    design = sweep()
    window = design.window(design.seen(finish(design, FirstSeedElsewhere)))
    assert window[2] > -4


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
    assert short.start == (0.0, 2.0)
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


def test_cost_is_counted_before_it_is_paid() -> None:
    """6·N·D floating-point operations a probe, and as many probes as a usual sweep takes."""
    cost = describe_cost(sweep())
    assert cost["flops_per_probe"] == 6 * 42144 * 16384 * 32
    assert cost["steps_per_probe"] == 2048
    assert cost["probes_likely"] == 19


@pytest.mark.parametrize("unit", ["tokens", "samples"])
@pytest.mark.parametrize("betas", [(0.9, 0.95), (0.9, 0.999)])
def test_a_configuration_travels_whole(unit: str, betas: tuple[float, float]) -> None:
    """Written as JSON and read again it is the same probe, also where a default depends on the unit."""
    run = TrainingRun(unit=unit, dataset_size=4096, batch_size=64, peak_lr=1e-3, betas=betas)
    config = ProbeConfig(task={"name": "planted"}, run=run, seed=1)
    again = ProbeConfig.model_validate_json(config.model_dump_json())
    assert again == config
    assert again.key == config.key
