"""PyTorch: torch.optim.AdamW, `param.mul_(1 - lr * weight_decay)` with the scheduled lr (torch/optim/adam.py)."""

import re
from typing import ClassVar

from adamw_scale.frameworks.framework import Framework, Snippet, decay, exact, groups, header, total_steps, value
from adamw_scale.parametrizations import EMBEDDING, HIDDEN, NORM_AND_BIAS, OUTPUT
from adamw_scale.schedules import Piece
from adamw_scale.spec import Recommendation, TrainingRun


class PyTorch:
    """AdamW with explicit parameter groups, and the run's schedule as a LambdaLR."""

    name: ClassVar[str] = "pytorch"
    title: ClassVar[str] = "PyTorch"
    convention: ClassVar[str] = "pytorch"
    undecayed_by_default: ClassVar[str] = "nothing: every parameter of a group decays"

    def emit(self, recommendation: Recommendation) -> Snippet:
        """A module with build_optimizer(model); run as a script, it shows itself on a tiny model."""
        run = recommendation.run
        by_width = not recommendation.one_for_all
        arguments = "model, output_layer" if by_width else "model"
        text = f'''{header(recommendation, self)}import math

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

TOTAL_STEPS = {total_steps(run)}


{multiplier_source(run)}

{param_groups_source(recommendation, self)}

def build_optimizer({_signature(by_width)}) -> tuple[torch.optim.AdamW, LambdaLR]:
    """Call optimizer.step() and then scheduler.step(), once per step of the run."""
    optimizer = torch.optim.AdamW(
        param_groups({arguments}),
        lr={value(run.lr)},
        betas=({exact(run.betas[0])}, {exact(run.betas[1])}),
        eps={exact(run.eps)},
    )
    return optimizer, LambdaLR(optimizer, lr_multiplier)


if __name__ == "__main__":
    model = nn.Sequential(nn.Embedding(256, 64), nn.LayerNorm(64), nn.Linear(64, 64), nn.Linear(64, 256))
    optimizer, scheduler = build_optimizer({"model, model[-1]" if by_width else "model"})
    for group in optimizer.param_groups:
        print({{key: group[key] for key in ("name", "initial_lr", "weight_decay")}}, len(group["params"]), "tensors")
'''
        return Snippet(framework=self.name, language="python", text=text)


def multiplier_source(run: TrainingRun) -> str:
    """Source of lr_multiplier(step): the schedule at the middle of each step, piece by piece."""
    *pieces, last = run.lr_schedule.pieces
    body = "".join(
        f"    if progress < {value(piece.start + piece.width)}:\n{_piece_source(piece, indent=8)}" for piece in pieces
    )
    return f'''def lr_multiplier(step: int) -> float:
    """Learning rate over peak at a step, counted from 0."""
    progress = min(1.0, (step + 0.5) / TOTAL_STEPS)
{body}{_piece_source(last, indent=4)}'''


def _piece_source(piece: Piece, indent: int) -> str:
    """Lines that return one piece's multiplier."""
    lines = [f"return {piece.curve.formula}"]
    if re.search(r"\bu\b", piece.curve.formula):
        since = f"progress - {value(piece.start)}" if piece.start else "progress"
        width = "" if piece.width == 1 else f" / {value(piece.width)}"
        lines.insert(0, f"u = {f'({since})' if width and piece.start else since}{width}")
    return "".join(" " * indent + line + "\n" for line in lines)


def param_groups_source(recommendation: Recommendation, framework: Framework) -> str:
    """Source of param_groups(model): decay by dimension, or by width where lr and λ depend on it."""
    by_name = groups(recommendation)
    if recommendation.one_for_all:
        return f'''def param_groups(model: nn.Module) -> list[dict]:
    """Matrices and embeddings decay; gains and biases (one dimension) do not."""
    trained = [p for p in model.parameters() if p.requires_grad]
    return [
        {{"name": "decayed", "params": [p for p in trained if p.ndim >= 2], "weight_decay": {decay(by_name[HIDDEN], framework)}}},
        {{"name": "{NORM_AND_BIAS}", "params": [p for p in trained if p.ndim < 2], "weight_decay": {decay(by_name[NORM_AND_BIAS], framework)}}},
    ]
'''
    rows = ",\n        ".join(
        f'{{"name": "{name}", "params": [p for p in trained if kind(p) == "{name}"], '
        f'"lr": {value(group.peak_lr)}, "weight_decay": {decay(group, framework)}, "eps": {value(group.eps)}}}'
        for name, group in by_name.items()
    )
    return f'''def param_groups(model: nn.Module, output_layer: nn.Module) -> list[dict]:
    """Learning rate and decay by group; initialise and scale the model for {recommendation.run.parametrization} yourself."""
    trained = [p for p in model.parameters() if p.requires_grad]
    embeddings = {{p for m in model.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}}
    outputs = set(output_layer.parameters())

    def kind(p: nn.Parameter) -> str:
        if p.ndim < 2:
            return "{NORM_AND_BIAS}"
        return "{EMBEDDING}" if p in embeddings else "{OUTPUT}" if p in outputs else "{HIDDEN}"

    return [
        {rows},
    ]
'''


def _signature(by_width: bool) -> str:
    return "model: nn.Module, output_layer: nn.Module" if by_width else "model: nn.Module"
