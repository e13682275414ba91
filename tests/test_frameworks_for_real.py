"""Snippets inside the real libraries: learning rate and decay of each step against the plan."""

import math
import re
import shlex
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from test_frameworks import RUNS, advice
from torch import nn

from adamw_scale.frameworks import FRAMEWORKS
from adamw_scale.frameworks.framework import total_steps
from adamw_scale.spec import Recommendation

POINTS = (0.004, 0.03, 0.5, 0.85, 0.97)
SMALL = {"dataset_size": 400 * 256 * 2048}


class TinyLM(nn.Module):
    """One tensor of each kind: embedding, norm gain, hidden matrix, bias, output."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(8, 4)
        self.norm = nn.LayerNorm(4)
        self.hidden = nn.Linear(4, 4)
        self.lm_head = nn.Linear(4, 8, bias=False)

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


def assert_decays_as_planned(
    model: nn.Module, optimizer: torch.optim.Optimizer, recommendation: Recommendation, multiplier: float
) -> None:
    """One real step on zero gradients shrinks each tensor by exactly 1 - lr_t * λ of its group."""
    groups = {group.group: group for group in recommendation.param_groups}
    before = {}
    for name, parameter in model.named_parameters():
        parameter.data.fill_(1.0)
        parameter.grad = torch.zeros_like(parameter)
        before[name] = parameter.detach().double().clone()
    optimizer.step()
    for name, parameter in model.named_parameters():
        group = groups[KINDS[name]]
        shrink = (1 - parameter.detach().double() / before[name]).mean().item()
        assert shrink == pytest.approx(group.peak_lr * multiplier * group.weight_decay, abs=2e-7), name


@pytest.mark.parametrize("run", RUNS)
def test_pytorch_snippet_runs(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Run as a script it shows its groups; built on a model, five points of the schedule decay as planned."""
    recommendation = advice(run)
    text = FRAMEWORKS["pytorch"]().emit(recommendation).text
    exec(compile(text, "snippet.py", "exec"), {"__name__": "__main__"})
    assert "weight_decay" in capsys.readouterr().out

    namespace: dict[str, Any] = {"__name__": "snippet"}
    exec(compile(text, "snippet.py", "exec"), namespace)
    steps = namespace["TOTAL_STEPS"]
    assert steps == total_steps(recommendation.run)
    for point in POINTS:
        model = TinyLM()
        arguments = (model, model.lm_head) if run == "mup" else (model,)
        optimizer, scheduler = namespace["build_optimizer"](*arguments)
        step = int(point * steps)
        planned = recommendation.run.lr_schedule.multiplier((step + 0.5) / steps)
        assert namespace["lr_multiplier"](step) == pytest.approx(planned, rel=1e-6)
        for group, initial in zip(optimizer.param_groups, scheduler.base_lrs, strict=True):
            group["lr"] = initial * namespace["lr_multiplier"](step)
        assert_decays_as_planned(model, optimizer, recommendation, planned)


def test_pytorch_schedule_as_it_is_stepped() -> None:
    """optimizer.step(), scheduler.step() through a whole short run: every lr is the plan's."""
    recommendation = _short("cosine-to-10-percent", warmup_steps=40)
    namespace: dict[str, Any] = {"__name__": "snippet"}
    exec(FRAMEWORKS["pytorch"]().emit(recommendation).text, namespace)
    optimizer, scheduler = namespace["build_optimizer"](TinyLM())
    for step in range(400):
        planned = recommendation.run.lr_schedule.multiplier((step + 0.5) / 400)
        assert scheduler.get_last_lr()[0] == pytest.approx(recommendation.peak_lr * planned, rel=1e-6)
        optimizer.step()
        scheduler.step()


def _short(run: str, **changes: Any) -> Recommendation:
    """A run of 400 steps, so that whole schedules can be walked."""
    from adamw_scale import TrainingRun, recommend

    return recommend(TrainingRun(**{**RUNS[run], **SMALL, "num_params": 1e6, **changes}))


LANGUAGE_RUNS = {
    "linear": {},
    "cosine-to-10-percent": {"warmup_steps": 40},
    "wsd": {"warmup_fraction": 0.1},
    "constant": {"warmup_fraction": 0.1},
    "linear-to-20-percent": {"warmup_fraction": 0.1},
    "mup": {"warmup_fraction": 0.1},
}


@pytest.mark.parametrize("run", LANGUAGE_RUNS)
def test_huggingface_snippet_in_a_real_trainer(run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainer builds optimizer and scheduler from the snippet; groups decay and the lr moves as planned."""
    from transformers import Trainer

    monkeypatch.chdir(tmp_path)
    recommendation = _short(run, **LANGUAGE_RUNS[run])
    namespace: dict[str, Any] = {"__name__": "snippet"}
    exec(FRAMEWORKS["huggingface"]().emit(recommendation).text, namespace)
    model = TinyLM()
    arguments = namespace["training_args"]
    assert arguments.gradient_accumulation_steps * arguments.per_device_train_batch_size == 256
    optimizer = namespace["build_optimizer"](model, model.lm_head) if run == "mup" else None
    trainer = Trainer(model, arguments, optimizers=(optimizer, None))
    trainer.create_optimizer_and_scheduler(num_training_steps=arguments.max_steps)
    assert trainer.optimizer is not None
    assert trainer.lr_scheduler is not None
    schedule, steps = recommendation.run.lr_schedule, arguments.max_steps
    for step in range(steps):
        multiplier = trainer.lr_scheduler.get_last_lr()[0] / trainer.lr_scheduler.base_lrs[0]
        # The Trainer takes the schedule at the start of each step.
        assert multiplier == pytest.approx(schedule.multiplier(step / steps), abs=1e-6)
        if step in {int(point * steps) for point in POINTS}:
            assert_decays_as_planned(model, _real(trainer.optimizer), recommendation, multiplier)
        else:
            trainer.optimizer.step()
        trainer.lr_scheduler.step()


def _real(optimizer: Any) -> torch.optim.Optimizer:
    unwrapped: torch.optim.Optimizer = getattr(optimizer, "optimizer", optimizer)
    return unwrapped


@pytest.mark.parametrize("run", [name for name in LANGUAGE_RUNS if name != "mup"])
def test_megatron_arguments_in_the_real_scheduler(run: str) -> None:
    """Megatron-core's own scheduler, fed with the emitted arguments, sets the planned lr and decay."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from megatron.core.optimizer_param_scheduler import OptimizerParamScheduler
    recommendation = _short(run, **LANGUAGE_RUNS[run])
    given = megatron_arguments(FRAMEWORKS["megatron"]().emit(recommendation).text)
    assert given["weight-decay-incr-style"] == "constant"
    assert given["optimizer"] == "adam"
    assert given["global-batch-size"] == "256"
    optimizer = torch.optim.AdamW([nn.Parameter(torch.ones(2, 2))], lr=1.0)
    optimizer.param_groups[0]["default_config"] = True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scheduler = OptimizerParamScheduler(
            optimizer,
            init_lr=0.0,
            max_lr=float(given["lr"]),
            min_lr=float(given["min-lr"]),
            lr_warmup_steps=int(given["lr-warmup-iters"]),
            lr_decay_steps=int(given["lr-decay-iters"]),
            lr_decay_style=given["lr-decay-style"],
            start_wd=float(given["weight-decay"]),
            end_wd=float(given["weight-decay"]),
            wd_incr_steps=int(given["train-iters"]),
            wd_incr_style=given["weight-decay-incr-style"],
            wsd_decay_steps=int(given["lr-wsd-decay-iters"]) if "lr-wsd-decay-iters" in given else None,
            lr_wsd_decay_style=given.get("lr-wsd-decay-style"),
        )
    steps = int(given["train-iters"])
    for step in range(1, steps + 1):
        scheduler.step(1)
        group = optimizer.param_groups[0]
        planned = recommendation.peak_lr * recommendation.run.lr_schedule.multiplier(step / steps)
        assert group["lr"] == pytest.approx(planned, abs=1e-6 * recommendation.peak_lr)
        assert group["weight_decay"] == pytest.approx(recommendation.weight_decay, rel=1e-7)


def megatron_arguments(text: str) -> dict[str, str]:
    """Flags of the emitted bash array."""
    inside = re.search(r"ADAMW_ARGS=\(\n(.*)\n\)", text, re.DOTALL)
    assert inside
    words = shlex.split(inside[1])
    return {flag.removeprefix("--"): value for flag, value in zip(words[::2], words[1::2], strict=True)}


def test_megatron_mup_uses_the_hidden_decay() -> None:
    """One λ for all groups: that of the matrices, which are nearly all weights, and the snippet says so."""
    recommendation = advice("mup")
    snippet = FRAMEWORKS["megatron"]().emit(recommendation)
    hidden = recommendation.param_groups[0]
    assert float(megatron_arguments(snippet.text)["weight-decay"]) == pytest.approx(hidden.weight_decay)
    assert math.isclose(hidden.weight_decay, 8 * recommendation.weight_decay)
    assert [caution.code for caution in snippet.cautions] == ["one-weight-decay"]
