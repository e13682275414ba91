"""AdamW on K probes at once: one flat buffer of weights, a learning rate and a weight decay for each probe.

Loshchilov & Hutter 2017, arXiv:1711.05101, in the order of torch.optim.AdamW. With gradient g, step t (from 1):

    m = beta1 * m + (1 - beta1) * g                      v = beta2 * v + (1 - beta2) * g^2
    w = w * (1 - lr * weight_decay)
    w = w - lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps)

The last line is computed as w - lr * s / (1 - beta1^t) * m / (sqrt(v) + eps * s) with s = sqrt(1 - beta2^t), so
that all that changes from step to step is a few numbers per probe: `coefficients` of a stretch of steps.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adamw_scale.parametrizations import Multipliers
from adamw_scale.probe.models.model import Parameter
from adamw_scale.spec import TrainingRun

ALIGNMENT = 16  # numbers
SHARED = 2  # coefficients before those of the segments: 1 - beta1, 1 - beta2
PER_SEGMENT = 3  # 1 - lr * weight_decay, eps * s, -lr * s / (1 - beta1^t)


@dataclass(frozen=True)
class Segment:
    """A stretch [start, stop) of the flat weights whose multipliers are the same."""

    start: int
    stop: int
    multipliers: Multipliers


@dataclass(frozen=True)
class Layout:
    """Where each weight lies in the flat buffer: ordered so that equal multipliers are neighbours."""

    parameters: tuple[Parameter, ...]
    segments: tuple[Segment, ...]

    @classmethod
    def of(cls, parameters: Sequence[Parameter], groups: Mapping[str, Multipliers]) -> "Layout":
        """The layout of a network's weights, given its multipliers by parameter group."""
        kinds = list(dict.fromkeys(groups[parameter.group] for parameter in parameters))
        ordered = tuple(p for kind in kinds for p in parameters if groups[p.group] == kind)
        segments, start = [], 0
        for kind in kinds:
            stop = start + sum(p.size for p in ordered if groups[p.group] == kind)
            segments.append(Segment(start, stop, kind))
            start = stop
        return cls(ordered, tuple(segments))

    @property
    def used(self) -> int:
        """Weights of one probe."""
        return self.segments[-1].stop

    @property
    def size(self) -> int:
        """Length of a probe's row: its weights, filled up so that every row starts at a multiple of 64 bytes.

        Matrix kernels choose their code by alignment; so a probe's bits do not depend on its row.
        """
        return -(-self.used // ALIGNMENT) * ALIGNMENT

    def views(self, flat: Tensor) -> dict[str, Tensor]:
        """The weights (K, *shape) by name, sharing the memory of flat (K, size), each a leaf that takes gradients."""
        parts = torch.split(flat[:, : self.used], [parameter.size for parameter in self.parameters], dim=1)
        return {
            parameter.name: part.view(len(flat), *parameter.shape).detach().requires_grad_()
            for parameter, part in zip(self.parameters, parts, strict=True)
        }


class FlatAdamW:
    """The optimizer's state for weights of shape (K, size), and its step.

    Steps do no arithmetic on the host and read nothing back, so that one can be captured in a CUDA graph.
    """

    def __init__(self, weights: Tensor, layout: Layout) -> None:
        self.weights = weights
        self.segments = layout.segments
        self.gradient = torch.zeros_like(weights)
        self.first_moment = torch.zeros_like(weights)
        self.second_moment = torch.zeros_like(weights)
        self._update = torch.empty_like(weights)

    def coefficients(self, runs: Sequence[TrainingRun], start: int, stop: int) -> Tensor:
        """What steps start to stop (from 0) of these runs need: (stop - start, SHARED + PER_SEGMENT * segments, K, 1).

        Step t of S uses the schedule's multiplier at the middle of its stretch, (t + 1/2) / S.
        """
        table = np.stack([self._coefficients_of(run, start, stop) for run in runs], axis=-1)
        return torch.from_numpy(table).to(self.weights).unsqueeze(-1)

    def _coefficients_of(self, run: TrainingRun, start: int, stop: int) -> NDArray[np.float64]:
        beta1, beta2 = run.betas
        steps = round(run.total_steps)
        schedule, decay = run.lr_schedule, run.decay_schedule
        progress = (np.arange(start, stop) + 0.5) / steps
        lr = run.lr * np.array([schedule.multiplier(p) for p in progress])
        weight_decay = run.current_weight_decay * np.array([decay.own(p) for p in progress])
        t = np.arange(start, stop) + 1.0
        second = np.sqrt(1 - beta2**t)
        columns = [np.full_like(t, 1 - beta1), np.full_like(t, 1 - beta2)]
        for segment in self.segments:
            scale = segment.multipliers
            rate = lr * scale.peak_lr
            columns += [
                1 - rate * weight_decay * scale.weight_decay,
                run.eps * scale.eps * second,
                -rate * second / (1 - beta1**t),
            ]
        return np.stack(columns, axis=1)

    def step(self, coefficients: Tensor) -> None:
        """Update the weights from `gradient` with one step's coefficients, of shape (n, K, 1)."""
        first, second, update, gradient = self.first_moment, self.second_moment, self._update, self.gradient
        first.lerp_(gradient, coefficients[0])
        torch.mul(gradient, gradient, out=update)
        second.lerp_(update, coefficients[1])
        torch.sqrt(second, out=update)
        for i, segment in enumerate(self.segments):
            at = slice(segment.start, segment.stop)
            shrink, eps, rate = coefficients[SHARED + PER_SEGMENT * i : SHARED + PER_SEGMENT * (i + 1)]
            torch.div(first[:, at], update[:, at].add_(eps), out=update[:, at])
            if segment.multipliers.weight_decay:
                self.weights[:, at].mul_(shrink)
            self.weights[:, at].addcmul_(update[:, at], rate)
