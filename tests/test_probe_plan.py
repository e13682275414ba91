"""The design of a sweep, on planted basins: what it asks for, in which order, and when it stops."""

from typing import Any

import pytest
from conftest import PlantedEngine

from adamw_scale import TrainingRun
from adamw_scale.errors import SpecError
from adamw_scale.probe.engines.engine import TaskSource
from adamw_scale.probe.plan import ProbeResult, Sweep, describe_cost

RUN = TrainingRun(dataset_size=16384, batch_size=256, epochs=32, peak_lr=2e-3, num_params=42144)


def sweep(**changes: Any) -> Sweep:
    """A sweep over the byte run."""
    return Sweep(task={"name": "planted"}, run=RUN, **changes)


def finish(design: Sweep, engine_type: type[PlantedEngine]) -> dict[str, ProbeResult]:
    """Run a design to its end with an engine that trains nothing."""
    results: dict[str, ProbeResult] = {}
    engine = engine_type(TaskSource("planted", None), 1)
    while missing := design.missing(results):
        assert len(results) < 100
        for result in engine.run(missing, lambda progress: None):
            results[result.key] = result
    return results


@pytest.mark.parametrize("minimum", [-4.7, -3.0, -2.4, -1.5, 0.4, 1.2])
def test_window_lies_around_the_minimum(planted: type[PlantedEngine], minimum: float) -> None:
    """Every second octave, refined: the window holds the planted minimum, on every seed."""
    planted.minimum = minimum
    design = sweep()
    results = finish(design, planted)
    window = design.window(results)
    assert len(window) == 5
    assert window[0] <= minimum <= window[-1]
    for seed in design.seeds:
        assert set(window) <= set(design.observed(results, seed))
    assert not design.at_edge(results)
    assert 9 <= len(results) <= 23


@pytest.mark.parametrize("minimum", [9.0, -12.0])
def test_a_minimum_beyond_the_limits_is_an_edge(planted: type[PlantedEngine], minimum: float) -> None:
    """The end is moved out as far as it may; then the answer is 'edge'."""
    planted.minimum = minimum
    design = sweep()
    assert design.at_edge(finish(design, planted))


def test_nothing_is_run_twice(planted: type[PlantedEngine]) -> None:
    """Each stage asks only for what is missing."""
    finish(sweep(), planted)
    assert len(planted.trained) == len(set(planted.trained))


def test_the_design_is_a_function_of_the_results(planted: type[PlantedEngine]) -> None:
    """Forget any result and the design asks for exactly that one."""
    design = sweep()
    results = finish(design, planted)
    for key in list(results)[len(design.coarse) :]:
        rest = {other: result for other, result in results.items() if other != key}
        missing = [config.key for config in design.missing(rest)]
        assert key in missing or not missing


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
