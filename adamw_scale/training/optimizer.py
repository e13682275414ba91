"""AdamW on K probes at once: one flat buffer of weights, a learning rate and a weight decay for each probe.

Loshchilov & Hutter 2017, arXiv:1711.05101, in the order of torch.optim.AdamW. With gradient g, step t (from 1):

    m = beta1 * m + (1 - beta1) * g                      v = beta2 * v + (1 - beta2) * g^2
    w = w * (1 - lr * weight_decay)
    w = w - lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps)

The last line is computed as w - lr * s / (1 - beta1^t) * m / (sqrt(v) + eps * s) with s = sqrt(1 - beta2^t), so
that all that changes from step to step is a few numbers per probe: `coefficients` of a stretch of steps.

Large models on a CPU are updated by torch's own fused kernel instead, probe by probe.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim.adamw import adamw

from adamw_scale.spec.run import TrainingRun
from adamw_scale.theory.parametrizations import Multipliers
from adamw_scale.training.models.model import Parameter

Array = NDArray[np.float64]

ALIGNMENT = 16  # numbers
SHARED = 2  # coefficients before those of the segments: 1 - beta1, 1 - beta2
PER_SEGMENT = 3  # 1 - lr * weight_decay, eps * s, -lr * s / (1 - beta1^t)
FUSED_FROM = 90_000  # weights of a probe from which one pass over memory is worth a call for every probe


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
        """Parts of flat (K, size) by parameter: (K, *shape), sharing its memory."""
        parts = torch.split(flat[:, : self.used], [parameter.size for parameter in self.parameters], dim=1)
        return {p.name: part.view(len(flat), *p.shape) for p, part in zip(self.parameters, parts, strict=True)}

    def members(self, segment: Segment) -> list[int]:
        """Which of `parameters` lie in a segment."""
        starts = np.cumsum([0, *(parameter.size for parameter in self.parameters)])
        return [i for i, start in enumerate(starts[:-1]) if segment.start <= start < segment.stop]


def optimizer_of(weights: Tensor, layout: Layout) -> "FlatAdamW":
    """The optimizer for weights of shape (K, size): chosen by the model's size, so that bits do not depend on K."""
    fused = weights.device.type == "cpu" and layout.used >= FUSED_FROM
    return FusedAdamW(weights, layout) if fused else FlatAdamW(weights, layout)


class FlatAdamW:
    """The optimizer's state for weights of shape (K, size), and its step.

    Steps do no arithmetic on the host and read nothing back, so that one can be captured in a CUDA graph.
    """

    def __init__(self, weights: Tensor, layout: Layout) -> None:
        self.weights = weights
        self.layout = layout
        self.first_moment = torch.zeros_like(weights)
        self.second_moment = torch.zeros_like(weights)
        self._gradient = torch.zeros_like(weights)
        self._update = torch.empty_like(weights)

    def coefficients(self, runs: Sequence[TrainingRun], start: int, stop: int) -> Tensor:
        """What steps start to stop (from 0) of these runs need: (stop - start, SHARED + PER_SEGMENT * segments, K, 1).

        Step t of S uses the schedule's multiplier at the middle of its stretch, (t + 1/2) / S.
        """
        return self._table(runs, start, stop).to(self.weights)

    def _table(self, runs: Sequence[TrainingRun], start: int, stop: int) -> Tensor:
        """Coefficients in float64, on the CPU."""
        table = np.stack([self._coefficients_of(run, start, stop) for run in runs], axis=-1)
        return torch.from_numpy(table).unsqueeze(-1)

    def _coefficients_of(self, run: TrainingRun, start: int, stop: int) -> NDArray[np.float64]:
        steps = round(run.total_steps)
        schedule, decay = run.lr_schedule, run.decay_schedule
        t = np.arange(start + 1, stop + 1, dtype=np.float64)
        progress = (t - 0.5) / steps
        lr = run.lr * np.array([schedule.multiplier(p) for p in progress])
        weight_decay = run.current_weight_decay * np.array([decay.own(p) for p in progress])
        return np.stack(self._columns(run, t, lr, weight_decay), axis=1)

    def _columns(self, run: TrainingRun, t: Array, lr: Array, weight_decay: Array) -> list[Array]:
        """The coefficients of steps t (from 1), given what lr and weight decay are there."""
        beta1, beta2 = run.betas
        second = np.sqrt(1 - beta2**t)
        columns = [np.full_like(t, 1 - beta1), np.full_like(t, 1 - beta2)]
        for segment in self.layout.segments:
            scale = segment.multipliers
            rate = lr * scale.peak_lr
            columns += [
                1 - rate * weight_decay * scale.weight_decay,
                run.eps * scale.eps * second,
                -rate * second / (1 - beta1**t),
            ]
        return columns

    def step(self, coefficients: Tensor, gradients: Sequence[Tensor]) -> None:
        """Update the weights from gradients, of shapes (K, *shape) in the layout's order, and a step's coefficients."""
        first, second, update, gradient = self.first_moment, self.second_moment, self._update, self._gradient
        torch.cat([g.flatten(1) for g in gradients], dim=1, out=gradient[:, : self.layout.used])
        first.lerp_(gradient, coefficients[0])
        torch.mul(gradient, gradient, out=update)
        second.lerp_(update, coefficients[1])
        torch.sqrt(second, out=update)
        for i, segment in enumerate(self.layout.segments):
            at = slice(segment.start, segment.stop)
            shrink, eps, rate = coefficients[SHARED + PER_SEGMENT * i : SHARED + PER_SEGMENT * (i + 1)]
            torch.div(first[:, at], update[:, at].add_(eps), out=update[:, at])
            if segment.multipliers.weight_decay:
                self.weights[:, at].mul_(shrink)
            self.weights[:, at].addcmul_(update[:, at], rate)


class FusedAdamW(FlatAdamW):
    """The same with torch.optim's fused kernel, probe by probe and segment by segment.

    Coefficients: beta1, beta2 and the steps made before; for each segment lr, weight decay and eps.
    """

    def __init__(self, weights: Tensor, layout: Layout) -> None:
        super().__init__(weights, layout)
        buffers = (self.weights, self.first_moment, self.second_moment)
        self._parts = [list(layout.views(buffer).values()) for buffer in buffers]
        self._members = [layout.members(segment) for segment in layout.segments]

    def coefficients(self, runs: Sequence[TrainingRun], start: int, stop: int) -> Tensor:
        """What steps start to stop (from 0) of these runs need, as numbers that are read on the host."""
        return self._table(runs, start, stop)

    def _columns(self, run: TrainingRun, t: Array, lr: Array, weight_decay: Array) -> list[Array]:
        columns = [np.full_like(t, run.betas[0]), np.full_like(t, run.betas[1]), t - 1]
        for segment in self.layout.segments:
            scale = segment.multipliers
            columns += [lr * scale.peak_lr, weight_decay * scale.weight_decay, np.full_like(t, run.eps * scale.eps)]
        return columns

    def step(self, coefficients: Tensor, gradients: Sequence[Tensor]) -> None:
        """Update the weights, as `FlatAdamW.step`."""
        for k, (beta1, beta2, before, *rest) in enumerate(coefficients[..., 0].T.tolist()):
            for i, members in enumerate(self._members):
                lr, weight_decay, eps = rest[PER_SEGMENT * i : PER_SEGMENT * (i + 1)]
                weights, first, second = ([part[j][k] for j in members] for part in self._parts)
                adamw(
                    weights,
                    [gradients[j][k] for j in members],
                    first,
                    second,
                    [],
                    list(torch.full((len(members),), before).unbind()),
                    fused=True,
                    amsgrad=False,
                    beta1=beta1,
                    beta2=beta2,
                    lr=lr,
                    weight_decay=weight_decay,
                    eps=eps,
                    maximize=False,
                )
