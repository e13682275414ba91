"""NeMo Automodel's real recipe config: optimizer and scheduler as it builds them from YAML."""

import inspect
import warnings
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from torch import nn
from walking import STEPS, assert_walks_as_recommended, config_of, read, short

from adamw_scale.frameworks import FRAMEWORKS
from adamw_scale.frameworks.emission import emit
from adamw_scale.frameworks.nemo_automodel import TARGETS

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("nemo_automodel", reason="nemo-automodel is not installed")
    from nemo_automodel.components.config.loader import ConfigNode
    from nemo_automodel.components.optim import optimizer as optim
    from nemo_automodel.components.training.step_scheduler import StepSchedulerConfig
    from nemo_automodel.recipes._typed_config import RecipeConfig

RUNS: dict[str, dict[str, Any]] = {
    "linear": {},
    "linear-to-20-percent": {},
    "cosine-to-10-percent": {},
    "constant": {},
    "wsd": {},
    "wsd-1-sqrt": {},
    "wsd-cosine": {"schedule": "wsd-cosine", "decay_fraction": 0.3, "final_lr_fraction": 0.1},
    "inverse-sqrt": {"schedule": "inverse-sqrt"},
    "no warm-up": {"schedule": "cosine", "warmup_steps": 0},
    "mup": {},
    "samples": {},
}
KINDS = {
    "embed_tokens.weight": "embedding",
    "input_layernorm.weight": "norm-and-bias",
    "mlp.weight": "hidden",
    "mlp.bias": "norm-and-bias",
    "lm_head.weight": "output",
}
OPTIMIZER = "optimizer: {_target_: torch.optim.AdamW, lr: 0.01, weight_decay: 0.1}\n"
STEPPED = "step_scheduler: {max_steps: 20}\n"


class Llama(nn.Module):
    """A tensor of each kind under the names that Hugging Face models have, in double precision."""

    def __init__(self) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(8, 4)
        self.input_layernorm = nn.RMSNorm(4)
        self.mlp = nn.Linear(4, 4)
        self.lm_head = nn.Linear(4, 8, bias=False)
        self.double()


def built(text: str, model: nn.Module) -> tuple[Any, Any]:
    """Optimizer and scheduler, which is None where the recipe has none."""
    recipe = RecipeConfig(ConfigNode(yaml.safe_load(text)))
    (optimizer,) = recipe.optimizer.build(model)
    if recipe.lr_scheduler is None:
        return optimizer, None
    steps = SimpleNamespace(epoch_len=None, num_epochs=1, max_steps=recipe.step_scheduler.max_steps)
    (scheduler,) = recipe.lr_scheduler.build(optimizer, steps)
    return optimizer, scheduler


def learning_rates(text: str, count: int = 20) -> list[float]:
    """Learning rate of each step of a recipe."""
    model = Llama()
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer, scheduler = built(text, model)
    found = []
    for _ in range(count):
        found.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        scheduler.step(1)
    return found


@pytest.mark.parametrize("run", RUNS)
def test_every_step_is_as_recommended(run: str) -> None:
    """The scheduler is at the start of each step, lr and decay of every group times its multipliers."""
    recommendation = short(run if not RUNS[run] else "linear", **RUNS[run])
    text, config = emit("nemo-automodel", recommendation).text, config_of(recommendation, "nemo-automodel")
    model = Llama()
    optimizer, scheduler = built(text, model)
    assert_walks_as_recommended(model, optimizer, lambda: scheduler.step(1), config, kinds=KINDS)
    assert optimizer.param_groups[0]["betas"] == config.betas
    assert optimizer.param_groups[0]["eps"] == config.eps


def test_lengths_are_fields_of_the_real_config() -> None:
    """max_steps and the batch; and enough epochs, of which the default is 10."""
    recipe = RecipeConfig(ConfigNode(yaml.safe_load(emit("nemo-automodel", short("samples", epochs=20)).text)))
    assert isinstance(recipe.step_scheduler, StepSchedulerConfig)
    assert (recipe.step_scheduler.max_steps, recipe.step_scheduler.global_batch_size) == (STEPS * 20, 1024)
    assert recipe.step_scheduler.num_epochs == 20 > StepSchedulerConfig().num_epochs


def test_defaults_are_automodels() -> None:
    """What the classes fill in, the floor of a hundredth and the warm-up among it."""
    config = read(
        FRAMEWORKS["nemo-automodel"](),
        "optimizer: {eps: 1.0e-8}\nlr_scheduler: {use_checkpoint_opt_param_scheduler: true}\n" + STEPPED,
    )
    torchs = inspect.signature(torch.optim.AdamW).parameters
    assert (config.peak_lr, config.weight_decay) == (torchs["lr"].default, torchs["weight_decay"].default)
    assert config.betas == torchs["betas"].default
    _, scheduler = built(
        "optimizer: {_target_: torch.optim.AdamW}\nlr_scheduler: {lr_decay_style: cosine}\n" + STEPPED, Llama()
    )
    assert config.schedule == scheduler.lr_decay_style == optim.LRSchedulerConfig().lr_decay_style
    assert config.warmup_steps == scheduler.lr_warmup_steps == 2
    assert config.final_lr_fraction == pytest.approx(scheduler.min_lr / scheduler.max_lr)
    assert scheduler.init_lr == pytest.approx(0.1 * scheduler.max_lr)
    assert [finding.code for finding in config.findings] == ["warmup-start"]
    assert config.batch_size == StepSchedulerConfig().global_batch_size
    assert read(FRAMEWORKS["nemo-automodel"](), "optimizer: {lr: 0.1}").epochs == StepSchedulerConfig().num_epochs
    for name in ("AdamConfig", "AdamWConfig", "FusedAdamConfig", "FlashAdamWConfig"):
        real = getattr(optim, name)()
        assert (TARGETS[name].peak_lr, TARGETS[name].weight_decay) == (real.lr, real.weight_decay)


def test_scheduler_overrides_the_optimizer() -> None:
    """max_lr, start_wd and end_wd win over what the optimizer was given."""
    text = (
        OPTIMIZER
        + "lr_scheduler: {lr_decay_style: constant, max_lr: 0.5, init_lr: 0.0, start_wd: 0.033, end_wd: 0.033}\n"
        + STEPPED
    )
    config = read(FRAMEWORKS["nemo-automodel"](), text)
    assert [(finding.code, finding.severity) for finding in config.findings] == [
        ("decay-overridden", "error"),
        ("lr-overridden", "error"),
    ]
    assert "start_wd 0.033" in config.findings[0].message
    assert (config.peak_lr, config.weight_decay) == (0.5, 0.033)
    optimizer, scheduler = built(text, Llama())
    scheduler.step(10)
    assert (optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["weight_decay"]) == (0.5, 0.033)


def test_weight_decay_may_rise() -> None:
    """end_wd above the optimizer's own, linearly; start_wd is then the optimizer's."""
    text = OPTIMIZER + "lr_scheduler: {end_wd: 0.3, wd_incr_style: linear, init_lr: 0.0}\n" + STEPPED
    config = read(FRAMEWORKS["nemo-automodel"](), text)
    assert (config.weight_decay, config.weight_decay_schedule) == (0.1, "linear")
    assert config.final_weight_decay_fraction == pytest.approx(3)
    optimizer, scheduler = built(text, Llama())
    scheduler.step(10)
    assert optimizer.param_groups[0]["weight_decay"] == pytest.approx(0.2)


def test_overrides_without_a_scheduler_do_nothing() -> None:
    """The real optimizer decays what the override was to spare."""
    text = (
        "optimizer: {_target_: torch.optim.AdamW, lr: 0.01, weight_decay: 0.1, param_group_overrides: [{pattern: "
        "norm, wd_mult: 0.0}]}\n" + STEPPED
    )
    config = read(FRAMEWORKS["nemo-automodel"](), text)
    assert [(finding.code, finding.severity) for finding in config.findings] == [("overrides-unused", "error")]
    assert [group.weight_decay for group in config.groups] == [0.1] * 4
    optimizer, scheduler = built(text, Llama())
    assert scheduler is None
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.1]


@pytest.mark.parametrize(
    ("scheduler", "code", "error"),
    [
        ("lr_warmup_steps: 0.1, init_lr: 0.0", "warmup-fraction", ValueError),
        ("lr_decay_style: WSD, init_lr: 0.0, lr_warmup_steps: 2", "wsd-incomplete", AssertionError),
        ("lr_decay_style: WSD, wsd_decay_steps: 5, init_lr: 0.0, lr_warmup_steps: 2", "wsd-incomplete", AssertionError),
    ],
)
def test_what_automodel_refuses_is_found(scheduler: str, code: str, error: type[Exception]) -> None:
    """The real scheduler raises, at the latest on its way."""
    text = f"{OPTIMIZER}lr_scheduler: {{{scheduler}}}\n{STEPPED}"
    config = read(FRAMEWORKS["nemo-automodel"](), text)
    assert [(finding.code, finding.severity) for finding in config.findings] == [(code, "error")]
    with pytest.raises(error):
        learning_rates(text)


def test_a_schedule_of_another_length_is_found() -> None:
    """After lr_decay_steps the rest is at min_lr."""
    text = f"{OPTIMIZER}lr_scheduler: {{lr_decay_steps: 10, init_lr: 0.0, min_lr: 0.001}}\n{STEPPED}"
    assert [finding.code for finding in read(FRAMEWORKS["nemo-automodel"](), text).findings] == ["decay-steps"]
    assert learning_rates(text)[10:] == pytest.approx([0.001] * 10)


@pytest.mark.parametrize("end", [10, 30])
@pytest.mark.parametrize("style", ["cosine", "linear", "inverse-square-root"])
def test_a_schedule_of_another_length_is_judged_as_it_runs(style: str, end: int) -> None:
    """Every step of the real scheduler, which starts its fall after the warm-up and stays at min_lr after its end."""
    lengths = f"lr_decay_style: {style}, lr_warmup_steps: 4, lr_decay_steps: {end}"
    text = f"{OPTIMIZER}lr_scheduler: {{{lengths}, init_lr: 0.0, min_lr: 0.001}}\n{STEPPED}"
    schedule = read(FRAMEWORKS["nemo-automodel"](), text).lr_schedule
    real = [each / 0.01 for each in learning_rates(text)]
    ours = [schedule.multiplier(step / 20) for step in range(20)]
    assert ours[:end] + ours[end + 1 :] == pytest.approx(
        real[:end] + real[end + 1 :], abs=2e-3
    )  # one step is on a jump


def test_reads_other_optimizers() -> None:
    """Adam's decay is no decay of the weights; Transformer Engine's FusedAdam has AdamW's unless told otherwise."""
    part = FRAMEWORKS["nemo-automodel"]()
    assert read(part, "optimizer: {_target_: torch.optim.Adam, lr: 1e-4}").convention == "torch-adam"
    fused = read(part, "optimizer: {_target_: transformer_engine.pytorch.optimizers.fused_adam.FusedAdam, lr: 1e-4}")
    assert (fused.convention, fused.weight_decay) == ("apex", 0.0)
    typed = read(part, "optimizer: {_target_: nemo_automodel.components.optim.optimizer.AdamWConfig}")
    assert (typed.peak_lr, typed.weight_decay, typed.schedule) == (1e-4, 0.01, "constant")
