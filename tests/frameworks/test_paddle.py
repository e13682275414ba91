"""PaddlePaddle's snippet with the real AdamW and schedulers, in double precision."""

import inspect
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import EVERY_SCHEDULE
from walking import KINDS, POINTS, RUNS, STEPS, config_of, from_start, short, shrink

from adamw_scale.frameworks.config import Config
from adamw_scale.frameworks.emission import emit

NAMED = ("linear", "cosine-to-10-percent", "wsd", "wsd-1-sqrt", "constant", "linear-to-20-percent", "mup", "samples")
OWN = {"constant", "linear", "cosine", "polynomial"}  # schedules for which Paddle has a class


@pytest.fixture(scope="module")
def paddle() -> Iterator[Any]:
    """Paddle in double precision; what its import warns of is its own affair."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        library: Any = pytest.importorskip("paddle")
    library.set_default_dtype("float64")
    yield library
    library.set_default_dtype("float32")


def tiny_model(paddle: Any) -> Any:
    """One tensor of each kind, with the names of `walking.KINDS`, all ones."""
    nn = paddle.nn
    model = nn.LayerDict(
        {
            "embedding": nn.Embedding(8, 4),
            "norm": nn.LayerNorm(4),
            "hidden": nn.Linear(4, 4),
            "lm_head": nn.Linear(4, 8, bias_attr=False),
        }
    )
    for parameter in model.parameters():
        parameter.set_value(paddle.ones(parameter.shape))
    return model


def assert_walks(paddle: Any, text: str, config: Config) -> None:
    """Every step on zero gradients; lr and decay of every tensor are as recommended.

    Paddle's own schedulers take the start of each step, a LambdaDecay its middle; the eight digits that are written
    leave 1e-8 of the peak.
    """
    namespace: dict[str, Any] = {"__name__": "snippet"}
    exec(compile(text, "snippet.py", "exec"), namespace)
    model = tiny_model(paddle)
    by_group = len(inspect.signature(namespace["build_optimizer"]).parameters) == 2
    optimizer, scheduler = namespace["build_optimizer"](*((model, model["lm_head"]) if by_group else (model,)))
    middle = "LambdaDecay" in text
    for parameter in model.parameters():
        parameter.grad = paddle.zeros_like(parameter)
    schedule, peak = config.lr_schedule, config.peak_lr or 0
    assert config.total_steps == STEPS
    for step in range(STEPS):
        multiplier = schedule.multiplier((step + 0.5) / STEPS if middle else from_start(step))
        assert optimizer.get_lr() == pytest.approx(peak * multiplier, rel=1e-6, abs=1e-8 * peak), step
        before = {name: float(parameter.mean()) for name, parameter in model.named_parameters()}
        optimizer.step()
        scheduler.step()
        if step not in POINTS:
            continue
        for name, parameter in model.named_parameters():
            taken = 1 - float(parameter.mean()) / before[name]
            wanted, largest = (shrink(config, KINDS[name], each) for each in (multiplier, 1.0))
            assert taken == pytest.approx(wanted, rel=1e-6, abs=1e-8 * largest), (name, step)


@pytest.mark.parametrize("run", NAMED)
def test_every_step_is_as_recommended(paddle: Any, run: str) -> None:
    """lr at every step, decay of every kind of tensor at five of them."""
    recommendation = short(run)
    assert_walks(paddle, emit("paddle", recommendation).text, config_of(recommendation, "paddle"))


@pytest.mark.parametrize(
    ("schedule", "warmup"),
    [(name, steps) for name in EVERY_SCHEDULE for steps in (0, 40) if steps or name != "inverse-sqrt"],
)
def test_every_schedule_is_as_recommended(paddle: Any, schedule: str, warmup: int) -> None:
    """Paddle has or can be given every schedule there is, with and without a warm-up; inverse-sqrt needs one."""
    fields = {key: each for key, each in EVERY_SCHEDULE[schedule].items() if key != "warmup_fraction"}
    recommendation = short(
        "linear", schedule=schedule, **{**fields, "warmup_steps": None if schedule == "table" else warmup}
    )
    config, text = config_of(recommendation, "paddle"), emit("paddle", recommendation).text
    assert config.schedule == schedule
    assert ("LambdaDecay" not in text) == (schedule in OWN and (schedule != "constant" or bool(warmup)))
    assert_walks(paddle, text, config)


@pytest.mark.parametrize("run", RUNS)
def test_snippet_builds_groups_of_all_parameters(paddle: Any, run: str) -> None:
    """Nothing is left out and nothing is in two groups."""
    namespace: dict[str, Any] = {"__name__": "snippet"}
    exec(emit("paddle", short(run)).text, namespace)
    model = tiny_model(paddle)
    groups = namespace["param_groups"](*((model, model["lm_head"]) if run == "mup" else (model,)))
    names = [p.name for group in groups for p in group["params"]]
    assert sorted(names) == sorted(p.name for p in model.parameters())


def test_default_decay_is_that_of_the_convention(paddle: Any) -> None:
    """What the table of conventions says of its default, and that everything decays."""
    assert inspect.signature(paddle.optimizer.AdamW.__init__).parameters["weight_decay"].default == 0.01
    model = tiny_model(paddle)
    optimizer = paddle.optimizer.AdamW(1e-3, parameters=model.parameters())
    for parameter in model.parameters():
        parameter.grad = paddle.zeros_like(parameter)
    optimizer.step()
    assert [1 - float(p.mean()) for p in model.parameters()] == [pytest.approx(1e-5)] * len(KINDS)
