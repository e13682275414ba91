"""Conventions against the real optimizers: what one step leaves of a weight, measured and predicted.

A step on a zero gradient moves a weight by its decay alone. The learning rate is half of its peak, where
lr_t, lr_t / peak, lr_t^2 / peak and no schedule at all are far apart.
"""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from conftest import alone

from adamw_scale.errors import SpecError
from adamw_scale.theory.conventions import (
    CONVENTIONS,
    KINDS,
    Setting,
    decay_per_step,
    follows_lr,
    from_pytorch,
    kind_of,
    to_pytorch,
)

PEAK = 0.1
VALUE = 0.1
HALF = 0.5
SETTING = Setting(peak_lr=PEAK, total_steps=7)
# Not square and of root mean square about 3: a learning rate scaled by shape or by size would show.
WEIGHTS = np.random.default_rng(0).choice((-1.0, 1.0), (8, 4)) * np.linspace(2.0, 4.0, 32).reshape(8, 4)

Build = Callable[[torch.nn.Parameter, float], torch.optim.Optimizer]
"""From a parameter and a weight-decay value to an optimizer at peak learning rate."""


def library(name: str, **environment: str) -> Any:
    """A module, or a skip where its package is not installed; warnings of its import are its own affair."""
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore")
        for variable, value in environment.items():
            patch.setenv(variable, value)
        return pytest.importorskip(name)


def left(after: Any, before: Any = WEIGHTS) -> float:
    """The one factor by which all weights shrank."""
    factors = np.asarray(after, dtype=np.float64) / np.asarray(before, dtype=np.float64)
    assert np.ptp(factors) < 1e-6
    return float(factors.mean())


def zero_step(optimizer: torch.optim.Optimizer, parameter: torch.nn.Parameter) -> None:
    """One step without a gradient from the loss."""
    parameter.grad = torch.zeros_like(parameter)
    with torch.compiler.set_stance("force_eager"):
        optimizer.step()


def scheduled(optimizer: torch.optim.Optimizer, s: float) -> torch.optim.Optimizer:
    """The optimizer at a share of its peak learning rate."""
    for group in optimizer.param_groups:
        group["lr"] *= s
    return optimizer


def torch_factor(build: Build, value: float, s: float, dtype: torch.dtype = torch.float64) -> float:
    """What one step of an optimizer with PyTorch's interface leaves."""
    parameter = torch.nn.Parameter(torch.tensor(WEIGHTS, dtype=dtype))
    zero_step(scheduled(build(parameter, value), s), parameter)
    return left(parameter.detach())


def named(module: str, name: str, **arguments: Any) -> Build:
    """An optimizer by its module and name."""
    return lambda parameter, value: getattr(library(module), name)(
        [parameter], lr=PEAK, weight_decay=value, **arguments
    )


def timm(name: str, **arguments: Any) -> Build:
    """An optimizer of timm, by its name there."""
    return lambda parameter, value: alone("timm.optim", "timm.models", "group_parameters").create_optimizer_v2(
        [parameter], name, lr=PEAK, weight_decay=value, **arguments
    )


def composer(parameter: torch.nn.Parameter, value: float) -> torch.optim.Optimizer:
    """Composer's DecoupledAdamW."""
    module = alone("composer.optim.decoupled_weight_decay", "composer.utils", "dist")
    optimizer: torch.optim.Optimizer = module.DecoupledAdamW([parameter], lr=PEAK, weight_decay=value)
    return optimizer


def unit_scaling(parameter: torch.nn.Parameter, value: float) -> torch.optim.Optimizer:
    """unit_scaling's AdamW, with its group's learning rate: the given one over the square root of the width."""
    weight = library("unit_scaling").Parameter(parameter.data, "weight")
    optimizer: torch.optim.Optimizer = library("unit_scaling.optim").AdamW([weight], lr=2 * PEAK, weight_decay=value)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(PEAK)
    optimizer.param_groups[0]["params"] = [parameter]
    return optimizer


def schedulefree(parameter: torch.nn.Parameter, value: float) -> torch.optim.Optimizer:
    """schedulefree's AdamW while it trains."""
    optimizer = library("schedulefree").AdamWScheduleFree([parameter], lr=PEAK, weight_decay=value)
    optimizer.train()
    return optimizer  # type: ignore[no-any-return]


def optax_factor(name: str, value: float, s: float, **arguments: Any) -> float:
    """What one step of an optax optimizer leaves."""
    optax, numbers = library("optax"), library("jax.numpy")
    alias: Any = optax
    for part in name.split("."):
        alias = getattr(alias, part)
    weights = numbers.asarray(WEIGHTS, dtype="float32")
    optimizer = alias(lambda count: s * PEAK, **({"weight_decay": value} | arguments))
    updates, _ = optimizer.update(numbers.zeros_like(weights), optimizer.init(weights), weights)
    return left(optax.apply_updates(weights, updates))


def optax_adafactor_factor(value: float, s: float) -> float:
    """What one step of optax's Adafactor leaves, whose decay has a name of its own."""
    optax, numbers = library("optax"), library("jax.numpy")
    weights = numbers.asarray(WEIGHTS, dtype="float32")
    optimizer = optax.adafactor(lambda count: s * PEAK, weight_decay_rate=value)
    updates, _ = optimizer.update(numbers.zeros_like(weights), optimizer.init(weights), weights)
    return left(optax.apply_updates(weights, updates))


def keras_factor(name: str, value: float, s: float) -> float:
    """What one step of a Keras optimizer leaves."""
    keras = library("keras", KERAS_BACKEND="torch")
    weights = keras.Variable(WEIGHTS, dtype="float32")
    optimizer = getattr(keras.optimizers, name)(learning_rate=PEAK, weight_decay=value)
    optimizer.learning_rate = s * PEAK
    optimizer.apply([keras.ops.zeros_like(weights)], [weights])
    return left(keras.ops.convert_to_numpy(weights.value))


def mlx_factor(name: str, value: float, s: float, **arguments: Any) -> float:
    """What one step of an MLX optimizer leaves."""
    mx, optim = library("mlx.core"), library("mlx.optimizers")
    weights = {"weight": mx.array(WEIGHTS.astype(np.float32))}
    optimizer = getattr(optim, name)(learning_rate=PEAK, weight_decay=value, **arguments)
    optimizer.learning_rate = s * PEAK
    return left(optimizer.apply_gradients({"weight": mx.zeros_like(weights["weight"])}, weights)["weight"])


def tinygrad_factor(value: float, s: float) -> float:
    """What one step of tinygrad's AdamW leaves."""
    tinygrad, optim = library("tinygrad", DEV="PYTHON"), library("tinygrad.nn.optim")
    weights = tinygrad.Tensor(WEIGHTS.astype(np.float32)).is_param_()
    optimizer = optim.AdamW([weights], lr=PEAK, weight_decay=value)
    optimizer.lr.assign(optimizer.lr * s)
    weights.grad = weights.zeros_like().contiguous()
    with tinygrad.Context(TRAINING=1):
        optimizer.step()
    return left(weights.numpy())


def like_torch(convention: str, title: str, build: Build, dtype: torch.dtype = torch.float64) -> Any:
    """A case of an optimizer with PyTorch's interface."""
    return pytest.param(convention, partial(torch_factor, build, dtype=dtype), id=title)


BARE_ADAFACTOR = {"relative_step": False, "scale_parameter": False}
pytestmark = [
    pytest.mark.filterwarnings("ignore:You are using weight_decay up to:UserWarning"),  # optimi
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning"),  # keras
]
CASES = [
    like_torch("pytorch", "torch AdamW", named("torch.optim", "AdamW")),
    like_torch("torch-adam-decoupled", "torch Adam", named("torch.optim", "Adam", decoupled_weight_decay=True)),
    like_torch("torch-muon", "torch Muon", named("torch.optim", "Muon")),
    like_torch("torch-adafactor", "torch Adafactor", named("torch.optim", "Adafactor")),
    like_torch(
        "transformers-adafactor", "transformers Adafactor", named("transformers", "Adafactor", **BARE_ADAFACTOR)
    ),
    like_torch("optimi", "optimi AdamW", named("optimi", "AdamW")),
    like_torch("optimi-decoupled", "optimi decouple_lr", named("optimi", "AdamW", decouple_lr=True)),
    like_torch("composer", "composer DecoupledAdamW", composer),
    like_torch("unit-scaling", "unit_scaling AdamW", unit_scaling),
    like_torch("schedulefree", "schedulefree AdamW", schedulefree),
    like_torch("lion-pytorch", "lion_pytorch", named("lion_pytorch", "Lion")),
    like_torch(
        "lion-pytorch-decoupled",
        "lion_pytorch decoupled",
        named("lion_pytorch", "Lion", decoupled_weight_decay=True),
    ),
    *(
        like_torch("bitsandbytes", f"bitsandbytes {name}", named("bitsandbytes.optim", name), torch.float32)
        for name in ("AdamW", "Adam", "AdamW8bit", "Adam8bit")
    ),
    *(
        like_torch("torchao", f"torchao {name}", named("torchao.optim", name), torch.float32)
        for name in ("AdamW8bit", "AdamW4bit", "AdamWFp8")
    ),
    *(
        like_torch("timm", f"timm {name}", timm(name))
        for name in ("adamw", "adamwlegacy", "nadamw", "lion", "laprop", "adafactorbv")
    ),
    *(
        like_torch("timm-corrected", f"timm {name} corrected", timm(name, corrected_weight_decay=True))
        for name in ("adamwlegacy", "nadamw", "lion", "laprop", "adafactorbv")
    ),
    like_torch("timm-unscaled", "timm adafactor_bv unscaled", timm("adafactorbv", unscaled_wd=True)),
    like_torch(
        "timm-unscaled-corrected",
        "timm adafactor_bv unscaled corrected",
        timm("adafactorbv", unscaled_wd=True, corrected_weight_decay=True),
    ),
    *(
        pytest.param("optax", partial(optax_factor, name), id=f"optax {name}")
        for name in ("adamw", "nadamw", "lion", "contrib.muon")
    ),
    pytest.param("optax-adafactor", optax_adafactor_factor, id="optax adafactor"),
    *(
        pytest.param("keras", partial(keras_factor, name), id=f"keras {name}")
        for name in ("AdamW", "Adam", "Lion", "Adafactor", "Muon", "SGD")
    ),
    *(
        pytest.param("mlx", partial(mlx_factor, name, **arguments), id=f"mlx {name}")
        for name, arguments in (("AdamW", {}), ("Lion", {}), ("Adafactor", BARE_ADAFACTOR))
    ),
    pytest.param("tinygrad", tinygrad_factor, id="tinygrad AdamW"),
]
Factor = Callable[[float, float], float]
"""From a weight-decay value and an lr multiplier to what is left of a weight after one step."""


def test_half_of_peak_tells_the_kinds_apart() -> None:
    """No two kinds that depend on nothing else predict the same step for the same value."""
    kinds = ("pytorch", "independent", "timm-unscaled", "loshchilov", "adamc", "modded-nanogpt")
    assert len({CONVENTIONS[name].kind for name in kinds}) == len(kinds)
    predicted = sorted(decay_per_step(name, VALUE, SETTING, s=HALF) for name in kinds)
    assert min(np.diff(predicted)) > 1e-3


@pytest.mark.parametrize(("convention", "factor"), CASES)
def test_one_step_decays_as_predicted(convention: str, factor: Factor) -> None:
    """At half of the peak learning rate a real step leaves 1 - f_t of every weight."""
    expected = 1 - decay_per_step(convention, VALUE, SETTING, s=HALF)
    assert factor(VALUE, HALF) == pytest.approx(expected, rel=0, abs=1e-6)


@pytest.mark.parametrize(("convention", "factor"), CASES)
def test_a_converted_value_decays_the_same(convention: str, factor: Factor) -> None:
    """At peak, torch AdamW with the converted value does what the library does, and the other way round.

    Where the decay follows the learning rate, it does so all along the schedule.
    """
    torch_adamw = partial(torch_factor, named("torch.optim", "AdamW"))
    for s in (1.0, 0.3) if follows_lr(convention) else (1.0,):
        there = to_pytorch(convention, VALUE, SETTING)
        assert torch_adamw(there, s) == pytest.approx(factor(VALUE, s), rel=0, abs=1e-6)
        back = from_pytorch(convention, VALUE, SETTING)
        assert torch_adamw(VALUE, s) == pytest.approx(factor(back, s), rel=0, abs=1e-6)


@pytest.mark.parametrize(
    ("convention", "start", "style", "own"),
    [("megatron", VALUE, "constant", 1.0), ("megatron-scheduled", 0.0, "linear", 0.25)],
)
def test_megatron_writes_its_own_weight_decay(convention: str, start: float, style: str, own: float) -> None:
    """Megatron's scheduler replaces the optimizer's weight decay at every step, by its own ramp if it has one."""
    parameter = torch.nn.Parameter(torch.tensor(WEIGHTS))
    optimizer = library("megatron.core.optimizer").Adam([parameter], lr=PEAK, weight_decay=7.0)
    scheduler = library("megatron.core.optimizer_param_scheduler").OptimizerParamScheduler(
        optimizer,
        init_lr=0.0,
        max_lr=PEAK,
        min_lr=0.0,
        lr_warmup_steps=0,
        lr_decay_steps=10,
        lr_decay_style="linear",
        start_wd=start,
        end_wd=VALUE,
        wd_incr_steps=20,
        wd_incr_style=style,
    )
    scheduler.step(5)
    zero_step(optimizer, parameter)
    expected = 1 - decay_per_step(convention, VALUE, SETTING, s=HALF, w=own)
    assert left(parameter.detach()) == pytest.approx(expected, rel=0, abs=1e-9)


def test_transformers_adafactor_decays_with_the_scaled_lr() -> None:
    """With scale_parameter its learning rate is times the weights' root mean square, and so is its decay."""
    build = named("transformers", "Adafactor", relative_step=False, scale_parameter=True)
    scaled = SETTING._replace(peak_lr=PEAK * float(np.sqrt(np.mean(WEIGHTS**2))))
    expected = 1 - decay_per_step("transformers-adafactor", VALUE, scaled, s=HALF)
    assert torch_factor(build, VALUE, HALF) == pytest.approx(expected, rel=0, abs=1e-6)


def test_schedulefree_decays_at_y() -> None:
    """Each step takes lr_t * value * y from z: y, where gradients are taken, sets the decay; x averages z."""
    parameter = torch.nn.Parameter(torch.tensor(WEIGHTS))
    optimizer = scheduled(schedulefree(parameter, VALUE), HALF)
    z = torch.tensor(WEIGHTS)
    for _ in range(5):
        y = parameter.detach().clone()
        zero_step(optimizer, parameter)
        z = z - decay_per_step("schedulefree", VALUE, SETTING, s=HALF) * y
        torch.testing.assert_close(optimizer.state[parameter]["z"], z)


@pytest.mark.parametrize(
    ("convention", "build"),
    [
        pytest.param("torch-adam", named("torch.optim", "Adam"), id="torch Adam"),
        pytest.param("torchao-adam", named("torchao.optim", "Adam8bit"), id="torchao Adam8bit"),
        pytest.param("bitsandbytes-1-state", named("bitsandbytes.optim", "RMSprop"), id="bitsandbytes RMSprop"),
        pytest.param("bitsandbytes-1-state", named("bitsandbytes.optim", "Adagrad"), id="bitsandbytes Adagrad"),
    ],
)
def test_l2_moves_every_weight_alike(convention: str, build: Build) -> None:
    """The first step of L2 is as long for a small weight as for a large one, whatever its value: no factor is it."""
    moved = []
    for value in (VALUE, 10 * VALUE):
        parameter = torch.nn.Parameter(torch.tensor(WEIGHTS, dtype=torch.float32))
        zero_step(scheduled(build(parameter, value), HALF), parameter)
        moved.append(np.abs(parameter.detach().numpy() - WEIGHTS))
    np.testing.assert_allclose(moved[0], moved[0].mean(), rtol=1e-4)
    np.testing.assert_allclose(moved[1], moved[0], rtol=1e-4)
    for refuse in (kind_of, partial(to_pytorch, value=VALUE, setting=SETTING)):
        with pytest.raises(SpecError, match="L2 and cannot be converted"):
            refuse(convention)


def test_l2_decays_by_the_gradients_of_the_past() -> None:
    """Two equal weights shrink by unequal factors on a zero gradient, if one of them has seen a large gradient."""
    parameter = torch.nn.Parameter(torch.ones(2, dtype=torch.float64))
    optimizer = torch.optim.Adam([parameter], lr=PEAK, betas=(0.0, 0.99), weight_decay=VALUE)
    parameter.grad = torch.tensor([0.0, 100.0], dtype=torch.float64)
    optimizer.step()
    before = parameter.detach().clone()
    zero_step(optimizer, parameter)
    small, large = (1 - parameter.detach() / before).tolist()
    assert small > 100 * large > 0


def test_kinds_without_a_library_here() -> None:
    """What stays unproven: kinds that no installable optimizer has."""
    proven = {CONVENTIONS[case.values[0]].kind for case in CASES} | {"scheduled"}
    assert set(KINDS) - proven == {"normalized", "squared", "cautious", "cautious-scheduled"}
