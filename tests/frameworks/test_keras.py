"""Keras's snippet with the real AdamW, on PyTorch's backend."""

import warnings
from typing import Any

import numpy as np
import pytest
from conftest import EVERY_SCHEDULE
from walking import POINTS, STEPS, config_of, from_start, short, shrink

from adamw_scale.frameworks.config import Config
from adamw_scale.frameworks.emission import emit

NAMED = ("linear", "cosine-to-10-percent", "wsd", "wsd-1-sqrt", "constant", "linear-to-20-percent", "mup", "samples")
# As EVERY_SCHEDULE, with ends that are whole steps of 400.
WHOLE: dict[str, dict[str, Any]] = {
    **{
        name: {key: each for key, each in fields.items() if key != "warmup_fraction"}
        for name, fields in EVERY_SCHEDULE.items()
    },
    "cosine-restarts": {"cycles": 2, "cycle_growth": 3.0, "final_lr_fraction": 0.1},
    "one-cycle": {"final_lr_fraction": 0.01, "warmup_steps": 120},
    "table": {**EVERY_SCHEDULE["table"], "warmup_steps": None},
}
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")


@pytest.fixture
def keras(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Keras; what its import warns of is its own affair."""
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("keras")


def tiny_model(keras: Any) -> tuple[Any, dict[str, str]]:
    """A model of ones with a variable of each kind, and the kinds by path."""
    layers = [
        keras.layers.Embedding(8, 4, name="embedding"),
        keras.layers.LayerNormalization(name="norm"),
        keras.layers.Dense(4, name="dense"),
        keras.layers.Dense(8, use_bias=False, name="head"),
    ]
    model = keras.Sequential([keras.Input((3,), dtype="int32"), *layers])
    for variable in model.trainable_variables:
        variable.assign(np.ones(variable.shape))
    first = {"embedding": "embedding", "head": "output"}
    return model, {
        v.path: "norm-and-bias" if len(v.shape) < 2 else first.get(v.path.split("/")[-2], "hidden")
        for v in model.trainable_variables
    }


def build(text: str, model: Any) -> Any:
    """The optimizer that the snippet builds."""
    namespace: dict[str, Any] = {"__name__": "snippet"}
    exec(compile(text, "snippet.py", "exec"), namespace)
    return namespace["build_optimizer"](model)


def assert_walks(keras: Any, text: str, config: Config) -> None:
    """Every step on zero gradients; lr and decay of each variable are as recommended at the start of the step.

    Keras computes schedules and weights in single precision, so 3e-7 of the peak may be missing from the lr, and
    one rounding of a weight from the decay.
    """
    model, kinds = tiny_model(keras)
    assert set(kinds.values()) == {"embedding", "norm-and-bias", "hidden", "output"}
    optimizer = build(text, model)
    optimizer.build(model.trainable_variables)
    zeros = [keras.ops.zeros(v.shape) for v in model.trainable_variables]
    schedule, peak = config.lr_schedule, config.peak_lr or 0
    assert config.total_steps == STEPS
    for step in range(STEPS):
        lr = schedule.multiplier(from_start(step)) * peak
        assert float(optimizer.learning_rate) == pytest.approx(lr, rel=1e-6, abs=3e-7 * peak), step
        if step not in POINTS:
            optimizer.iterations.assign_add(1)
            continue
        for variable in model.trainable_variables:
            variable.assign(np.ones(variable.shape))
        optimizer.apply(zeros, model.trainable_variables)
        for variable in model.trainable_variables:
            taken = 1 - float(keras.ops.convert_to_numpy(variable).mean())
            wanted = shrink(config, kinds[variable.path], schedule.multiplier(from_start(step)))
            assert taken == pytest.approx(wanted, rel=1e-6, abs=6e-8), (variable.path, step)


@pytest.mark.parametrize("run", NAMED)
def test_every_step_is_as_recommended(keras: Any, run: str) -> None:
    """lr at every step; decay of each kind of variable at five of them."""
    recommendation = short(run)
    assert_walks(keras, emit("keras", recommendation).text, config_of(recommendation, "keras"))


@pytest.mark.parametrize(
    ("schedule", "warmup"), [(name, steps) for name in WHOLE for steps in (0, 40) if steps or name != "inverse-sqrt"]
)
def test_every_schedule_is_as_recommended(keras: Any, schedule: str, warmup: int) -> None:
    """Keras has or can be given every schedule there is, with and without a warm-up; inverse-sqrt needs one."""
    recommendation = short("linear", schedule=schedule, **{"warmup_steps": warmup, **WHOLE[schedule]})
    config = config_of(recommendation, "keras")
    assert config.schedule == schedule
    assert_walks(keras, emit("keras", recommendation).text, config)


@pytest.mark.parametrize("run", ["wsd", "cosine-to-10-percent"])
def test_optimizer_is_saved_and_loaded(keras: Any, run: str) -> None:
    """A schedule of its own class comes back with the model."""
    model, _ = tiny_model(keras)
    optimizer = build(emit("keras", short(run)).text, model)
    back = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    back.build(model.trainable_variables)
    back.iterations.assign(30)
    optimizer.build(model.trainable_variables)
    optimizer.iterations.assign(30)
    assert float(back.learning_rate) == float(optimizer.learning_rate) > 0


def test_names_of_exclusion_are_only_last_parts(keras: Any) -> None:
    """Why variables are passed: a layer's name excludes nothing."""
    model, _ = tiny_model(keras)
    optimizer = keras.optimizers.AdamW(1e-3, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_names=["head"])
    optimizer.build(model.trainable_variables)
    optimizer.apply([keras.ops.zeros(v.shape) for v in model.trainable_variables], model.trainable_variables)
    assert all(float(keras.ops.convert_to_numpy(v).mean()) < 1 for v in model.trainable_variables)


def test_accumulation_speeds_schedules_up(keras: Any) -> None:
    """What the snippet warns of: the schedule sees batches, not updates."""
    variable = keras.Variable(np.ones(2))
    schedule = keras.optimizers.schedules.PolynomialDecay(1.0, 10, end_learning_rate=0.0, power=1.0)
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=0.1, gradient_accumulation_steps=2)
    optimizer.build([variable])
    for _ in range(4):
        optimizer.apply([keras.ops.zeros(2)], [variable])
    assert int(optimizer.iterations) == 2
    assert float(optimizer.learning_rate) == pytest.approx(0.6)
