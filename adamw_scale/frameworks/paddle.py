"""PaddlePaddle: AdamW's kernel takes `p *= 1 - lr * coeff` with the scheduled lr (phi/kernels/gpu/adamw_kernel.cu).

Every parameter decays; groups may have another weight_decay and epsilon, and their "learning_rate" is a factor, which
scales their decay too. Its own schedulers take the lr at the start of each step; what they lack is written as a
function for LambdaDecay, which takes the middle.
"""

from adamw_scale.formats.document import Document
from adamw_scale.frameworks.config import Config, Group
from adamw_scale.frameworks.framework import Framework
from adamw_scale.frameworks.pytorch import multiplier_source
from adamw_scale.frameworks.scripts import read_script
from adamw_scale.frameworks.spelling import betas_of, eps_of, final_lr, lr_of, one_for_all, value, whole
from adamw_scale.theory.parametrizations import EMBEDDING, HIDDEN, NORM_AND_BIAS, OUTPUT
from adamw_scale.theory.schedules import SCHEDULES


class Paddle(Framework):
    """AdamW with explicit parameter groups and a scheduler."""

    name = "paddle"
    title = "PaddlePaddle"
    language = "python"
    convention = "paddle"
    undecayed_by_default = "nothing: every parameter decays"
    grouping = "all"
    schedules = tuple(SCHEDULES)
    reads = "Python source with a call of paddle.optimizer.AdamW"
    signs = frozenset({"apply_decay_param_fun", "LinearWarmup", "LinearDecayWithWarmup"})
    packages = frozenset({"paddle"})
    by_optimizer = True
    formats = frozenset({"Python"})
    proven = "paddlepaddle 3.3"

    def write(self, config: Config) -> str:
        """A module with build_optimizer(model)."""
        by_group = not one_for_all(config)
        beta1, beta2 = betas_of(config)
        scheduler = _scheduler(config)
        own = f"\nTOTAL_STEPS = {whole(config.total_steps)}\n\n\n{multiplier_source(config.lr_schedule)}"
        signature = "model: nn.Layer, output_layer: nn.Layer" if by_group else "model: nn.Layer"
        imports = "" if scheduler else "import math\n\n"
        return f'''{imports}from paddle import nn
from paddle.optimizer import AdamW, lr
{"" if scheduler else own}

{_groups_source(config)}

def build_optimizer({signature}) -> tuple[AdamW, lr.LRScheduler]:
    """Call optimizer.step() and then scheduler.step(), once per step of the run."""
    scheduler = {scheduler or f"lr.LambdaDecay({lr_of(config)}, lr_multiplier)"}
    optimizer = AdamW(
        scheduler,
        beta1={beta1},
        beta2={beta2},
        epsilon={eps_of(config)},
        parameters=param_groups({"model, output_layer" if by_group else "model"}),
    )
    return optimizer, scheduler
'''

    def read(self, document: Document) -> Config:
        """Arguments of the one optimizer and of its schedule."""
        return read_script(document, "paddle")


def _scheduler(config: Config) -> str:
    """Source of one of Paddle's own schedulers; empty where it has none."""
    peak, low = lr_of(config), value(final_lr(config))
    warmup = whole(config.warmup_steps)
    steps = whole(config.total_steps) - warmup
    fall = {
        "constant": peak if warmup else "",
        "linear": f"lr.PolynomialDecay({peak}, {steps}, end_lr={low}, power=1.0)",
        "polynomial": f"lr.PolynomialDecay({peak}, {steps}, end_lr={low}, power={value(config.power)})",
        "cosine": f"lr.CosineAnnealingDecay({peak}, T_max={steps}, eta_min={low})",
    }.get(config.schedule or "constant", "")
    return f"lr.LinearWarmup({fall}, warmup_steps={warmup}, start_lr=0.0, end_lr={peak})" if fall and warmup else fall


def _groups_source(config: Config) -> str:
    """Source of param_groups(model): decay by dimension, or by group where lr and λ depend on it."""
    trained = "trained = [p for p in model.parameters() if not p.stop_gradient]"
    if one_for_all(config):
        decayed, spared = (value(config.group(name).weight_decay) for name in (HIDDEN, NORM_AND_BIAS))
        return f'''def param_groups(model: nn.Layer) -> list[dict]:
    """Matrices and embeddings decay; gains and biases (one dimension) do not."""
    {trained}
    return [
        {{"params": [p for p in trained if p.ndim >= 2], "weight_decay": {decayed}}},
        {{"params": [p for p in trained if p.ndim < 2], "weight_decay": {spared}}},
    ]
'''
    rows = "".join(
        f'        {{"params": [p for p in trained if kind(p) == "{group.group}"], {_values(config, group)}}},\n'
        for group in config.groups
    )
    return f'''def param_groups(model: nn.Layer, output_layer: nn.Layer) -> list[dict]:
    """Learning rate (as a factor) and decay by group; initialise and scale the model for its width yourself."""
    {trained}
    layers = model.sublayers(include_self=True)
    embeddings = {{p.name for layer in layers if isinstance(layer, nn.Embedding) for p in layer.parameters()}}
    outputs = {{p.name for p in output_layer.parameters()}}

    def kind(p) -> str:
        if p.ndim < 2:
            return "{NORM_AND_BIAS}"
        return "{EMBEDDING}" if p.name in embeddings else "{OUTPUT}" if p.name in outputs else "{HIDDEN}"

    return [
{rows}    ]
'''


def _values(config: Config, group: Group) -> str:
    eps = (config.eps or 0) * group.eps_factor
    values = {"learning_rate": group.lr_factor, "weight_decay": group.weight_decay, "epsilon": eps}
    return ", ".join(f'"{key}": {value(each)}' for key, each in values.items())
