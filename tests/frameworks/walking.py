"""What is written for a recommendation, walked step by step against the real optimizer and scheduler."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import nn

from adamw_scale import TrainingRun, recommend
from adamw_scale.formats import parse
from adamw_scale.frameworks import FRAMEWORKS, Framework
from adamw_scale.frameworks.config import Config
from adamw_scale.frameworks.translation import translated
from adamw_scale.spec.advice import Recommendation
from adamw_scale.theory import conventions

BASE: dict[str, Any] = {
    "dataset_size": 26e9,
    "batch_size": 256 * 2048,
    "peak_lr": 3e-4,
    "num_params": 1.3e9,
    "sequence_length": 2048,
}
RUNS: dict[str, dict[str, Any]] = {
    "linear": BASE,
    "cosine-to-10-percent": {**BASE, "schedule": "cosine", "final_lr_fraction": 0.1, "warmup_steps": 2000},
    "wsd": {**BASE, "schedule": "wsd", "warmup_fraction": 0.01},
    "wsd-1-sqrt": {**BASE, "schedule": "wsd-1-sqrt", "warmup_fraction": 0.01},
    "constant": {**BASE, "schedule": "constant", "warmup_fraction": 0.01},
    "linear-to-20-percent": {**BASE, "final_lr_fraction": 0.2},
    "mup": {**BASE, "parametrization": "mup", "width": 2048, "base_width": 256, "schedule": "cosine"},
    "samples": {"unit": "samples", "dataset_size": 1281167, "epochs": 90, "batch_size": 1024, "peak_lr": 1e-3},
}
SUFFIX = {"python": ".py", "shell": ".sh", "yaml": ".yaml", "json": ".json"}
STEPS = 400
POINTS = (1, 12, 200, 340, 396)  # of STEPS: warm-up, its end, the middle, the fall, the end


def advice(name: str, **changes: Any) -> Recommendation:
    """The recommendation of a named run."""
    return recommend(TrainingRun(**{**RUNS[name], **changes}))


def short(name: str = "cosine-to-10-percent", **changes: Any) -> Recommendation:
    """A named run of 400 steps and 40 of warm-up, so that whole schedules can be walked; tuned, so that it may be used.

    Nothing published decays as fast as so short a run wants.
    """
    fields = {key: each for key, each in RUNS[name].items() if not key.startswith("warmup")}
    size = {"dataset_size": STEPS * fields["batch_size"], "epochs": 1}
    params = {"num_params": 1e6} if "num_params" in fields else {}
    run = TrainingRun(**{**fields, **size, **params, "warmup_steps": 40, **changes})
    advice = recommend(run)
    if advice.doubt is None:
        return advice
    tuned = {"weight_decay": advice.weight_decay, "convention": "pytorch"}
    return recommend(run, reference=run.model_copy(update=tuned))


def read(framework: Framework, text: str) -> Config:
    """What a framework reads in a text of one of its formats."""
    return framework.read(parse(text, among=framework.formats))


def config_of(recommendation: Recommendation, framework: str) -> Config:
    """The config that carries a recommendation in a framework, before it is spelled in its words."""
    return translated(recommendation, FRAMEWORKS[framework]()).config


class TinyLM(nn.Module):
    """One tensor of each kind: embedding, norm gain and bias, hidden matrix and bias, output; in double precision."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(8, 4)
        self.norm = nn.LayerNorm(4)
        self.hidden = nn.Linear(4, 4)
        self.lm_head = nn.Linear(4, 8, bias=False)
        self.double()

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits."""
        logits: torch.Tensor = self.lm_head(self.hidden(self.norm(self.embedding(tokens))))
        return logits


KINDS = {
    "embedding.weight": "embedding",
    "norm.weight": "norm-and-bias",
    "norm.bias": "norm-and-bias",
    "hidden.weight": "hidden",
    "hidden.bias": "norm-and-bias",
    "lm_head.weight": "output",
}


def shrink(config: Config, kind: str, multiplier: float) -> float:
    """Share of a weight of this group that a step must take off, at a multiplier of the learning rate."""
    group = config.group(kind)
    setting = conventions.Setting(peak_lr=(config.peak_lr or 0) * group.lr_factor)
    return conventions.decay_per_step(config.convention, group.weight_decay, setting, s=multiplier)


def from_start(step: int) -> float:
    """Progress of a framework that takes its schedule at the start of each step, counted from 0."""
    return step / STEPS


def from_end(step: int) -> float:
    """Progress of a framework that takes its schedule at the end of each step."""
    return (step + 1) / STEPS


def assert_walks_as_recommended(
    model: nn.Module,
    optimizer: Any,
    next_step: Callable[[], Any],
    config: Config,
    progress: Callable[[int], float] = from_start,
    kinds: Mapping[str, str] = KINDS,
) -> None:
    """Take every step of the run on zero gradients; at five of them compare each tensor's lr and decay with the config.

    `next_step` advances the scheduler. Without gradients AdamW changes a weight by its decay alone.
    """
    assert config.total_steps == STEPS
    schedule = config.lr_schedule
    for parameter in model.parameters():
        parameter.data.fill_(1.0)
        parameter.grad = torch.zeros_like(parameter)
    owner = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    for step in range(STEPS):
        multiplier = schedule.multiplier(progress(step))
        before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
        lrs = {name: float(owner[id(parameter)]["lr"]) for name, parameter in model.named_parameters()}
        optimizer.step()
        next_step()
        if step not in POINTS:
            continue
        for name, parameter in model.named_parameters():
            lr = (config.peak_lr or 0) * config.group(kinds[name]).lr_factor * multiplier
            assert lrs[name] == pytest.approx(lr, rel=1e-6, abs=1e-14), (name, step)
            taken = (1 - parameter.detach() / before[name]).mean().item()
            assert taken == pytest.approx(shrink(config, kinds[name], multiplier), rel=1e-6, abs=1e-13), (name, step)
