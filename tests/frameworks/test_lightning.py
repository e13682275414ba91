"""configure_optimizers of the snippet in a real Lightning Trainer, which takes every step of the run."""

import importlib.util
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from walking import KINDS, POINTS, STEPS, TinyLM, assert_walks_as_recommended, config_of, short, shrink

from adamw_scale.frameworks.emission import emit

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("lightning") is None, reason="lightning is not installed"),
    pytest.mark.filterwarnings("ignore"),  # of its trainer, none of them about what is written
]
RUNS = ("linear", "cosine-to-10-percent", "wsd", "wsd-1-sqrt", "constant", "linear-to-20-percent", "mup", "samples")
TOKENS = torch.zeros(4, 1, dtype=torch.long)


def lightning() -> Any:
    """The library, whose import warns."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import lightning

    return lightning


def module_of(text: str) -> Any:
    """A module that derives from the snippet's class, holds one tensor of each kind and has gradients of zero."""
    lightning()
    namespace: dict[str, Any] = {"__name__": "snippet"}
    exec(compile(text, "snippet.py", "exec"), namespace)
    assert namespace["TOTAL_STEPS"] == STEPS

    class Module(namespace["WithAdamW"]):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = TinyLM()
            self.seen: list[tuple[dict[str, float], dict[str, torch.Tensor]]] = []
            for parameter in self.parameters():
                parameter.data.fill_(1.0)

        def output_layer(self) -> torch.nn.Module:
            return self.model.lm_head

        def training_step(self, tokens: torch.Tensor, index: int) -> torch.Tensor:
            return (self.model(tokens) * 0).sum()

        def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
            owner = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
            weights = {name: p.detach().clone() for name, p in self.model.named_parameters()}
            self.seen.append(({name: owner[id(p)] for name, p in self.model.named_parameters()}, weights))

    return Module()


def fit(module: Any, **options: Any) -> None:
    """Train on the CPU, without files."""
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = lightning().Trainer(accelerator="cpu", devices=1, **quiet, **options)
    trainer.fit(module, torch.utils.data.DataLoader(TOKENS.repeat(25, 1), batch_size=1))


@pytest.mark.parametrize("run", RUNS)
def test_every_step_is_as_recommended(run: str) -> None:
    """What configure_optimizers returns, without the trainer."""
    recommendation = short(run)
    module, config = module_of(emit("lightning", recommendation).text), config_of(recommendation, "lightning")
    built = module.configure_optimizers()
    assert built["lr_scheduler"].pop("interval") == "step"
    step = built["lr_scheduler"].pop("scheduler").step
    assert built["lr_scheduler"] == {}
    assert_walks_as_recommended(module.model, built["optimizer"], step, config, lambda step: (step + 0.5) / STEPS)


@pytest.mark.parametrize(("run", "accumulate"), [("mup", 1), ("cosine-to-10-percent", 2)])
def test_trainer_takes_the_steps(run: str, accumulate: int) -> None:
    """The schedule is taken at the middle of each step; a step is the optimizer's, however many batches it takes."""
    recommendation = short(run)
    module, config = module_of(emit("lightning", recommendation).text), config_of(recommendation, "lightning")
    fit(module, max_steps=STEPS, accumulate_grad_batches=accumulate)
    assert len(module.seen) == STEPS
    for step in POINTS:
        multiplier = config.lr_schedule.multiplier((step + 0.5) / STEPS)
        (lrs, before), (_, after) = module.seen[step], module.seen[step + 1]
        for name, kind in KINDS.items():
            lr = (config.peak_lr or 0) * config.group(kind).lr_factor * multiplier
            assert lrs[name] == pytest.approx(lr, rel=1e-6, abs=1e-14), (name, step)
            taken = (1 - after[name] / before[name]).mean().item()
            assert taken == pytest.approx(shrink(config, kind, multiplier), rel=1e-6, abs=1e-13), (name, step)


@pytest.mark.parametrize("edit", [lambda text: text.replace(', "interval": "step"', ""), lambda text: text])
def test_a_scheduler_is_stepped_once_an_epoch_by_default(edit: Callable[[str], str]) -> None:
    """Without "interval" the learning rate of the first step stays for the whole epoch, here of 100 batches."""
    text = emit("lightning", short("linear")).text
    module = module_of(edit(text))
    fit(module, max_steps=10)
    assert len({lrs["hidden.weight"] for lrs, _ in module.seen}) == (10 if edit(text) == text else 1)


def test_the_snippet_names_the_output_layer_where_groups_differ() -> None:
    """muP's groups need to know which matrix is the unembedding."""
    text = emit("lightning", short("mup")).text
    assert "return self.lm_head" in text
    assert "output_layer" not in emit("lightning", short("linear")).text
