"""The monitor on real optimizers: it measures what they do, and names what was planted."""

import logging
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from conftest import alone
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from adamw_scale import TrainingRun, recommend
from adamw_scale.errors import SpecError, UnknownNameError
from adamw_scale.integrations import TimescaleMonitor, param_groups
from adamw_scale.spec.advice import Recommendation

STEPS = 40
DecoupledAdamW = alone("composer.optim.decoupled_weight_decay", "composer.utils", "dist").DecoupledAdamW


def advised(**fields: object) -> Recommendation:
    """A run of 40 steps with warm-up and cosine, in which decay acts."""
    run = {
        "unit": "samples",
        "dataset_size": 64 * 4,
        "epochs": 10,
        "batch_size": 64,
        "peak_lr": 1e-2,
        "schedule": "cosine",
        "warmup_fraction": 0.1,
    }
    return recommend(TrainingRun.model_validate({**run, **fields}), "constant-tau-epoch")


def model_of(dtype: torch.dtype = torch.float64) -> nn.Module:
    """Small, with a norm, biases and two matrices."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(16, 64), nn.LayerNorm(64), nn.ReLU(), nn.Linear(64, 4)).to(dtype)


def train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    advice: Recommendation,
    after: Callable[[int], None] = lambda step: None,
    steps: int = STEPS,
) -> None:
    """A loop as people write it, whose scheduler is the advised one."""
    schedule = advice.run.lr_schedule
    scheduler = LambdaLR(optimizer, lambda step: schedule.multiplier(min(1.0, step / STEPS)))
    generator = torch.Generator().manual_seed(0)
    for step in range(steps):
        x = torch.randn(64, 16, generator=generator).to(next(model.parameters()).dtype)
        loss = nn.functional.cross_entropy(model(x), x[:, :4].argmax(1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        after(step)
        scheduler.step()


@pytest.mark.parametrize(
    "build",
    [
        torch.optim.AdamW,
        lambda groups: torch.optim.AdamW(groups, foreach=False),
        lambda groups: torch.optim.AdamW(groups, fused=True),
        lambda groups: torch.optim.AdamW(groups, amsgrad=True),
        lambda groups: torch.optim.Adam(groups, decoupled_weight_decay=True),
    ],
    ids=["foreach", "single", "fused", "amsgrad", "decoupled-adam"],
)
def test_measured_decay_is_the_advised(build: Callable[..., torch.optim.Optimizer]) -> None:
    """At every step, through warm-up and cosine: what went is the advised lr * λ, to 1e-6; no caution."""
    advice, model = advised(), model_of()
    optimizer = build(param_groups(model, advice))
    monitor = TimescaleMonitor(optimizer, advice, every=1)
    seen = []

    def look(step: int) -> None:
        hidden, norm = monitor.step()
        seen.append(step)
        assert hidden.measured == pytest.approx(hidden.planned, rel=1e-6, abs=1e-13)
        assert hidden.decay == pytest.approx(hidden.planned, rel=1e-6, abs=1e-15)
        assert norm.measured == pytest.approx(0.0, abs=1e-12)

    train(model, optimizer, advice, look)
    assert len(seen) == STEPS
    assert monitor.warnings == []
    hidden, norm = monitor.step()
    decays = [advice.weight_decay * 1e-2 * advice.run.lr_schedule.multiplier(step / STEPS) for step in range(STEPS)]
    assert hidden.decay_sum == pytest.approx(sum(decays))
    assert hidden.retention == pytest.approx(math.prod(1 - decay for decay in decays))
    assert norm.retention == 1.0
    assert norm.tau_iters is None
    weights = torch.cat([p.detach().flatten() for p in optimizer.param_groups[0]["params"]])
    assert hidden.rms == pytest.approx(float(weights.square().mean().sqrt()))


def test_single_precision_is_measured_as_well_as_it_can_be() -> None:
    """In float32 rounding leaves a share; no caution comes of it."""
    advice, model = advised(), model_of(torch.float32)
    optimizer = torch.optim.AdamW(param_groups(model, advice))
    monitor = TimescaleMonitor(optimizer, advice, every=1)
    train(model, optimizer, advice, lambda step: None, steps=20)
    hidden = monitor.step()[0]
    assert hidden.measured == pytest.approx(hidden.planned, rel=1e-3)
    assert monitor.warnings == []


def test_three_views() -> None:
    """Of the timescale at the step's own learning rate; without advice only steps are known."""
    advice, model = advised(schedule="constant", warmup_fraction=0.0), model_of()
    optimizer = torch.optim.AdamW(param_groups(model, advice))
    with_plan, without = TimescaleMonitor(optimizer, advice), TimescaleMonitor(optimizer)
    train(model, optimizer, advice, steps=3)
    hidden = with_plan.step()[0]
    assert hidden.tau_iters == pytest.approx(advice.timescale.iters)
    assert hidden.tau_epochs == pytest.approx(advice.timescale.epochs)
    assert hidden.tau_run == pytest.approx(advice.timescale.run)
    assert without.step()[0].tau_run is None
    assert without.metrics()["adamw_scale/hidden/tau_iters"] == pytest.approx(advice.timescale.iters)
    assert without.step()[0].equilibrium_rms == pytest.approx(advice.companions.equilibrium_rms)


def codes(monitor: TimescaleMonitor) -> set[str]:
    """Of what it warned about."""
    return {caution.code for caution in monitor.warnings}


def test_decay_on_norms_is_named() -> None:
    """All parameters in one decayed group: how many tensors should not be there."""
    advice, model = advised(), model_of()
    monitor = TimescaleMonitor(torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=advice.weight_decay), advice)
    assert codes(monitor) == {"on-norms"}
    assert "4 tensors of one dimension" in monitor.warnings[0].message


def test_independent_decay_with_a_pytorch_value_is_named() -> None:
    """Composer's unit is lr * λ: the value in PyTorch's is a hundred times too much, and the right one is said."""
    advice, model = advised(), model_of()
    groups = [{**group, "lr": 1e-2} for group in param_groups(model, advice)]
    optimizer = DecoupledAdamW(groups, lr=1e-2)
    monitor = TimescaleMonitor(optimizer, advice)
    assert codes(monitor) == {"convention"}
    assert f"{advice.weight_decay * 1e-2:.6g}" in monitor.warnings[0].fix
    right = DecoupledAdamW(
        [{**g, "weight_decay": g["weight_decay"] * 1e-2} for g in param_groups(model_of(), advice)], lr=1e-2
    )
    assert TimescaleMonitor(right, advice).warnings == []


def test_an_optimizer_that_is_not_what_it_is_taken_for_is_named() -> None:
    """Composer's class read as PyTorch's: the measurement contradicts the fields."""
    advice, model = advised(), model_of()
    groups = [{**g, "weight_decay": g["weight_decay"] * 1e-2} for g in param_groups(model, advice)]
    optimizer = DecoupledAdamW(groups, lr=1e-2)
    monitor = TimescaleMonitor(optimizer, convention="pytorch")
    train(model, optimizer, advice, steps=5)
    assert codes(monitor) == {"convention"}


def test_l2_is_named() -> None:
    """Adam couples decay to the gradient."""
    advice, model = advised(), model_of()
    monitor = TimescaleMonitor(torch.optim.Adam(param_groups(model, advice)), advice)
    assert codes(monitor) == {"convention"}
    assert "L2" in monitor.warnings[0].message


def test_what_overwrites_is_named() -> None:
    """Weight decay and learning rate that another part of the program sets; each once."""
    advice, model = advised(), model_of()
    optimizer = torch.optim.AdamW(param_groups(model, advice))
    monitor = TimescaleMonitor(optimizer, advice)

    def overwrite(step: int) -> None:
        if step == 10:
            optimizer.param_groups[0]["weight_decay"] = 0.01

    train(model, optimizer, advice, overwrite)
    assert [caution.code for caution in monitor.warnings] == ["overwritten"]
    assert "is 0.01 since step 11" in monitor.warnings[0].message

    model = model_of()
    optimizer = torch.optim.AdamW(param_groups(model, advice))
    monitor = TimescaleMonitor(optimizer, advice)
    linear = advised(schedule="linear")
    train(model, optimizer, linear)
    assert codes(monitor) == {"overwritten"}
    assert "learning rate" in monitor.warnings[0].message


def test_a_second_decay_is_named() -> None:
    """A hand-written shrink beside the optimizer's own."""
    advice, model = advised(), model_of()
    optimizer = torch.optim.AdamW(param_groups(model, advice))
    monitor = TimescaleMonitor(optimizer, advice)

    def shrink(step: int) -> None:
        group = optimizer.param_groups[0]
        with torch.no_grad():
            for parameter in group["params"]:
                parameter.mul_(1 - group["lr"] * group["weight_decay"])

    train(model, optimizer, advice, shrink)
    assert codes(monitor) == {"doubled"}
    assert "by somebody else" in monitor.warnings[0].message


def test_inert_decay_and_other_values_are_named() -> None:
    """A weight decay that cannot act in 40 steps, and that is not the advised one."""
    advice, model = advised(), model_of()
    groups = [{**g, "weight_decay": g["weight_decay"] and 0.01} for g in param_groups(model, advice)]
    monitor = TimescaleMonitor(torch.optim.AdamW(groups), advice)
    assert codes(monitor) == {"inert", "not-planned"}


def test_a_resumed_run_goes_on_adding_up() -> None:
    """State out, state in: the same sums as without a break."""
    advice, model = advised(), model_of()
    optimizer = torch.optim.AdamW(param_groups(model, advice))
    first = TimescaleMonitor(optimizer, advice)
    train(model, optimizer, advice, steps=10)
    first.close()
    second = TimescaleMonitor(optimizer, advice)
    second.load_state_dict(first.state_dict())
    assert second.state_dict() == first.state_dict()
    optimizer.step()
    assert second.steps == 11
    assert first.steps == 10
    assert second.step()[0].decay_sum > first.step()[0].decay_sum


def test_cautions_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    """One line each, unless somebody else is told."""
    told: list[Any] = []
    with caplog.at_level(logging.WARNING):
        TimescaleMonitor(torch.optim.AdamW(model_of().parameters()))
        TimescaleMonitor(torch.optim.AdamW(model_of().parameters()), warn=told.append)
    assert [record.getMessage().split(":")[0] for record in caplog.records] == ["adamw_scale on-norms"]
    assert [caution.code for caution in told] == ["on-norms"]


def test_what_cannot_be_watched_is_refused() -> None:
    """No optimizer, no such convention."""
    with pytest.raises(SpecError, match="no torch optimizer"):
        TimescaleMonitor(object())
    with pytest.raises(UnknownNameError, match="pytorhc"):
        TimescaleMonitor(torch.optim.AdamW(model_of().parameters()), convention="pytorhc")
