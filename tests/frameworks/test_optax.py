"""optax's snippet with the real adamw and schedules, in double precision."""

from collections.abc import Iterator
from typing import Any

import pytest
from conftest import EVERY_SCHEDULE
from walking import POINTS, RUNS, STEPS, advice, config_of, from_start, short

from adamw_scale.frameworks.config import Config
from adamw_scale.frameworks.emission import emit
from adamw_scale.frameworks.phase import MOST_PHASES
from adamw_scale.theory import conventions
from adamw_scale.theory.weight_decay_schedules import Decay

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")
NAMED = ("linear", "cosine-to-10-percent", "wsd", "wsd-1-sqrt", "constant", "linear-to-20-percent", "mup", "samples")
# As EVERY_SCHEDULE, with ends that are whole steps of 400.
WHOLE = {
    **{
        name: {key: each for key, each in fields.items() if key != "warmup_fraction"}
        for name, fields in EVERY_SCHEDULE.items()
    },
    "cosine-restarts": {"cycles": 2, "cycle_growth": 3.0, "final_lr_fraction": 0.1},
    "one-cycle": {"final_lr_fraction": 0.01},
    "step": {"milestones": (0.8, 0.9), "step_factor": 0.316},
}
KINDS = {
    "embedding": "embedding",
    "norm": "norm-and-bias",
    "kernel": "hidden",
    "bias": "norm-and-bias",
    "lm_head": "output",
}


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    """Double precision, for the test alone."""
    with jax.enable_x64(True):
        yield


def build(text: str) -> Any:
    """The optimizer that the snippet builds."""
    namespace: dict[str, Any] = {"__name__": "snippet"}
    exec(compile(text, "snippet.py", "exec"), namespace)
    return namespace["build_optimizer"]()


def assert_walks(text: str, config: Config) -> None:
    """Every step on zero gradients, compiled; the decay of every tensor is as recommended at the start of the step.

    optax divides its 32-bit count in single precision whatever the weights are, so 2e-7 of the peak may be missing.
    """
    optimizer = build(text)
    weights = {
        name: jax.numpy.ones((4, 4) if kind != "norm-and-bias" else 4, dtype="float64") for name, kind in KINDS.items()
    }
    zeros = jax.tree.map(jax.numpy.zeros_like, weights)
    state = optimizer.init(weights)
    update = jax.jit(optimizer.update)
    decay = Decay(config.lr_schedule, config.weight_decay_schedule, config.final_weight_decay_fraction or 0.0)
    assert config.total_steps == STEPS
    for step in range(STEPS):
        updates, state = update(zeros, state, weights)
        if step in POINTS:
            s, w = decay.lr.multiplier(from_start(step)), decay.own(from_start(step))
            for name, kind in KINDS.items():
                group = config.group(kind)
                setting = conventions.Setting(peak_lr=(config.peak_lr or 0) * group.lr_factor)
                peak = conventions.decay_per_step("optax", group.weight_decay, setting, s=1.0)
                taken = -float((updates[name] / weights[name]).mean())
                assert taken == pytest.approx(peak * s * w, rel=1e-6, abs=2e-7 * peak), (name, step)
        weights = optax.apply_updates(weights, updates)


@pytest.mark.parametrize("run", NAMED)
def test_every_step_is_as_recommended(run: str) -> None:
    """Decay is lr times λ, so it tells both, group by group."""
    recommendation = short(run)
    assert_walks(emit("optax", recommendation).text, config_of(recommendation, "optax"))


@pytest.mark.parametrize("schedule", WHOLE)
def test_every_schedule_is_as_recommended(schedule: str) -> None:
    """optax has or can be given every schedule there is."""
    fields = dict(WHOLE[schedule])
    if schedule == "table":
        fields["warmup_steps"] = None
    elif schedule == "one-cycle":
        fields["warmup_steps"] = 120
    recommendation = short("linear", schedule=schedule, **fields)
    config = config_of(recommendation, "optax")
    assert config.schedule == schedule
    assert_walks(emit("optax", recommendation).text, config)


@pytest.mark.parametrize("shape", [{"weight_decay_schedule": name} for name in ("follows-lr", "linear", "cosine")])
@pytest.mark.parametrize("run", ["cosine-to-10-percent", "mup"])
def test_decay_with_a_schedule_is_as_recommended(run: str, shape: dict[str, Any]) -> None:
    """adamw takes a schedule as its weight decay, counted as the learning rate's."""
    end = {} if shape["weight_decay_schedule"] == "follows-lr" else {"final_weight_decay_fraction": 0.3}
    recommendation = short(run, **shape, **end)
    config = config_of(recommendation, "optax")
    assert config.weight_decay_schedule == shape["weight_decay_schedule"]
    assert_walks(emit("optax", recommendation).text, config)


@pytest.mark.parametrize("run", ["linear", "mup", "wsd-1-sqrt"])
def test_learning_rate_itself_is_as_recommended(run: str) -> None:
    """The schedule at every step, also of what does not decay."""
    recommendation = short(run)
    namespace: dict[str, Any] = {"__name__": "snippet"}
    exec(emit("optax", recommendation).text, namespace)
    schedule = config_of(recommendation, "optax").lr_schedule
    rate = namespace["learning_rate"](3e-4)
    for step in range(STEPS):
        assert float(rate(step)) == pytest.approx(3e-4 * schedule.multiplier(from_start(step)), rel=1e-6, abs=1e-14)


@pytest.mark.parametrize("run", RUNS)
def test_run_as_a_script_it_shows_its_groups(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A reader can try it before using it."""
    exec(compile(emit("optax", advice(run)).text, "snippet.py", "exec"), {"__name__": "__main__"})
    assert "lm_head" in capsys.readouterr().out


def test_a_schedule_too_long_to_write_out_is_replaced() -> None:
    """Hundreds of restarts are not written one by one."""
    snippet = emit("optax", short("linear", schedule="cosine-restarts", cycles=MOST_PHASES + 1))
    assert "nearest-schedule" in [caution.code for caution in snippet.cautions]


def test_everything_decays_without_a_mask() -> None:
    """What `undecayed_by_default` says."""
    optimizer = optax.adamw(1e-3, weight_decay=0.1)
    weights = {"kernel": jax.numpy.ones((2, 2)), "bias": jax.numpy.ones(2)}
    updates, _ = optimizer.update(jax.tree.map(jax.numpy.zeros_like, weights), optimizer.init(weights), weights)
    assert [float(each.mean()) for each in updates.values()] == [pytest.approx(-1e-4)] * 2
