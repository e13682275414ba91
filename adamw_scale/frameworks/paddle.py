"""PaddlePaddle: AdamW's kernel takes `p *= 1 - lr * coeff` with the scheduled lr (paddle/phi/kernels/gpu/adamw_kernel.cu).

Every parameter decays; groups may have another weight_decay and epsilon, and their "learning_rate" is a factor, which
scales their decay too. Its own schedulers take the lr at the start of each step; what they lack is written as a
function for LambdaDecay, which takes the middle.
"""

from adamw_scale.frameworks.config import Config, Group
from adamw_scale.frameworks.framework import Framework
from adamw_scale.frameworks.pytorch import multiplier_source
from adamw_scale.frameworks.spelling import exact, final_lr, one_for_all, value, whole
from adamw_scale.theory.parametrizations import EMBEDDING, HIDDEN, NORM_AND_BIAS, OUTPUT
from adamw_scale.theory.schedules import POWER, SCHEDULES


class Paddle(Framework):
    """AdamW with explicit parameter groups and a scheduler."""

    name = "paddle"
    title = "PaddlePaddle"
    language = "python"
    convention = "paddle"
    undecayed_by_default = "nothing: every parameter decays"
    grouping = "all"
    schedules = tuple(SCHEDULES)
    proven = "paddlepaddle 3.3"

    def write(self, config: Config) -> str:
        """A module with build_optimizer(model)."""
        by_group = not one_for_all(config)
        betas = config.betas or (0.9, 0.999)
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
    scheduler = {scheduler or f"lr.LambdaDecay({value(config.peak_lr or 0)}, lr_multiplier)"}
    optimizer = AdamW(
        scheduler,
        beta1={exact(betas[0])},
        beta2={exact(betas[1])},
        epsilon={exact(config.eps or 0)},
        parameters=param_groups({"model, output_layer" if by_group else "model"}),
    )
    return optimizer, scheduler
'''


def _scheduler(config: Config) -> str:
    """Source of one of Paddle's own schedulers; empty where it has none."""
    peak, low = value(config.peak_lr or 0), value(final_lr(config))
    warmup = whole(config.warmup_steps)
    steps = whole(config.total_steps) - warmup
    power = POWER if config.schedule_power is None else config.schedule_power
    fall = {
        "constant": peak if warmup else "",
        "linear": f"lr.PolynomialDecay({peak}, {steps}, end_lr={low}, power=1.0)",
        "polynomial": f"lr.PolynomialDecay({peak}, {steps}, end_lr={low}, power={value(power)})",
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
    return f'"learning_rate": {value(group.lr_factor)}, "weight_decay": {value(group.weight_decay)}, "epsilon": {value(eps)}'
