"""What a built-in network provides, and the layers they share, all with a leading probe axis.

K probes are K copies of one architecture with weights of their own. A weight of shape s is stored as
(K, *s), an activation as (K, batch, ...), and one kernel works on all K. K = 1 is the plain case.
No layer mixes probes, so a probe that diverges spoils no other, and on a CPU in one thread a probe's
bits do not depend on the probes beside it.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from adamw_scale.spec.run import TrainingRun
from adamw_scale.theory.parametrizations import EMBEDDING, HIDDEN, NORM_AND_BIAS, OUTPUT, PARAMETRIZATIONS, Multipliers

Weights = Mapping[str, Tensor]  # name -> (K, *shape)

# How MKL adds up depends on where a matrix starts in memory, modulo 64 bytes, and with a single column on K.
# Where every matrix of a (K, ...) tensor is a multiple of this many floats, all start alike, and a probe's bits depend
# neither on K nor on its place among the K.
ALIGNED = 16


@dataclass(frozen=True)
class Parameter:
    """One weight of one probe: its shape, its parameter group, and how it starts.

    `std` is the standard deviation of a normal initialisation around `mean`; 0 fills with `mean`.
    """

    name: str
    shape: tuple[int, ...]
    group: str
    std: float = 0.0
    mean: float = 0.0

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


class Model(ABC):
    """An architecture: the list of its weights, and its forward pass on K probes at once."""

    parameters: Sequence[Parameter]

    @abstractmethod
    def forward(self, weights: Weights, inputs: Tensor) -> Tensor:
        """Outputs of shape (K, batch, ...) for inputs of shape (K, batch, ...)."""

    @property
    def num_params(self) -> int:
        """Parameters of one probe."""
        return sum(parameter.size for parameter in self.parameters)


@dataclass(frozen=True)
class Scaling:
    """A run's parametrization, as a network needs it: multipliers per group, and of residual branches."""

    groups: Mapping[str, Multipliers]
    width_ratio: float
    residual: float

    @classmethod
    def of(cls, run: TrainingRun) -> "Scaling":
        """The multipliers of a run; ratio 1 where it names no base."""
        parametrization = PARAMETRIZATIONS[run.parametrization]
        width_ratio = (run.width / run.base_width) if run.width and run.base_width else 1.0
        depth_ratio = (run.depth / run.base_depth) if run.depth and run.base_depth else 1.0
        return cls(
            groups=parametrization.multipliers(width_ratio, depth_ratio),
            width_ratio=width_ratio,
            residual=parametrization.residual(depth_ratio),
        )

    def inputs(self, name: str, fan_out: int, fan_in: int) -> Parameter:
        """The first matrix, which reads fan_in numbers of data, whatever the width: standard deviation 1/sqrt(fan_in).

        Of muP's kind of input weights, like an embedding, which is such a matrix on one-hot inputs: lr and
        init do not depend on width (2203.03466, table 8; 2505.01618, table 1). So its group is "embedding".
        """
        return Parameter(name, (fan_in, fan_out), EMBEDDING, std=fan_in**-0.5)

    def hidden(self, name: str, fan_out: int, fan_in: int, factor: float = 1.0) -> Parameter:
        """A matrix between hidden layers, of standard deviation factor/sqrt(fan_in): it has muP's 1/m of variance."""
        return Parameter(name, (fan_in, fan_out), HIDDEN, std=factor * fan_in**-0.5)

    def output(self, name: str, fan_out: int, fan_in: int) -> Parameter:
        """The last matrix: 1/sqrt(fan_in), or what it was at the base width where a forward multiplier takes over."""
        variance = self.groups[OUTPUT].init_variance / fan_in
        if self.groups[OUTPUT].forward != 1.0:
            variance *= self.width_ratio
        return Parameter(name, (fan_in, fan_out), OUTPUT, std=variance**0.5)

    def embedding(self, name: str, rows: int, width: int, std: float = 0.02) -> Parameter:
        """A lookup table."""
        return Parameter(name, (rows, width), EMBEDDING, std=std)

    def gain(self, name: str, width: int) -> Parameter:
        """A norm's gain, which starts at 1."""
        return Parameter(name, (width,), NORM_AND_BIAS, mean=1.0)

    def bias(self, name: str, width: int) -> Parameter:
        """A bias, which starts at 0."""
        return Parameter(name, (width,), NORM_AND_BIAS)

    def readout(self, outputs: Tensor) -> Tensor:
        """What the last matrix computed, times its group's forward multiplier."""
        forward = self.groups[OUTPUT].forward
        return outputs if forward == 1.0 else outputs * forward


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x (K, ..., in) times weight (K, in, out), plus bias (K, out): (K, ..., out)."""
    probes, inputs, outputs = weight.shape
    rows = x.reshape(probes, -1, inputs)
    count = rows.shape[1]
    if 1 in (inputs, outputs) or not _aligned(x, count * inputs, inputs * outputs, count * outputs):
        return _filled_up_linear(x, weight, bias)
    out = torch.bmm(rows, weight) if bias is None else torch.baddbmm(bias.unsqueeze(1), rows, weight)
    return out.view(*x.shape[:-1], outputs)


def _filled_up_linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`linear` with inputs and outputs filled up by zeros to multiples of 16: matrices are aligned, none a vector."""
    _, inputs, outputs = weight.shape
    more_inputs, more_outputs = -inputs % ALIGNED, -outputs % ALIGNED
    bias = None if bias is None else F.pad(bias, (0, more_outputs))
    out = linear(F.pad(x, (0, more_inputs)), F.pad(weight, (0, more_outputs, 0, more_inputs)), bias)
    return out[..., :outputs].contiguous()


def _aligned(x: Tensor, *sizes: int) -> bool:
    """Whether matrices of these sizes start where the CPU's kernels add up alike for every probe."""
    return x.device.type != "cpu" or all(size % ALIGNED == 0 for size in sizes)


def layer_norm(x: Tensor, gain: Tensor, bias: Tensor | None = None) -> Tensor:
    """Normalise the last axis of x (K, ..., width), then gain (K, width) and bias (K, width)."""
    axes = (x.shape[0], *(1 for _ in x.shape[1:-1]), x.shape[-1])
    normal = F.layer_norm(x, x.shape[-1:]) * gain.view(axes)
    return normal if bias is None else normal + bias.view(axes)


def lookup(table: Tensor, index: Tensor) -> Tensor:
    """Rows of table (K, rows, width) at index (K, ...): (K, ..., width)."""
    probes, rows, width = table.shape
    offset = torch.arange(probes, device=index.device).view(-1, *(1 for _ in index.shape[1:])) * rows
    return F.embedding(index + offset, table.reshape(probes * rows, width))


def attention(x: Tensor, qkv: Tensor, out: Tensor, num_heads: int, *, causal: bool) -> Tensor:
    """Multi-head self-attention on x (K, batch, context, width); weights (K, width, 3 * width), (K, width, width)."""
    probes, batch, context, width = x.shape
    if not _aligned(x, batch * context * width):
        return attention(F.pad(x, (0, 0, 0, 0, 0, -batch % ALIGNED)), qkv, out, num_heads, causal=causal)[:, :batch]
    heads = linear(x, qkv).view(probes * batch, context, 3, num_heads, width // num_heads)
    query, key, value = heads.permute(2, 0, 3, 1, 4)
    mixed = F.scaled_dot_product_attention(query, key, value, is_causal=causal)
    return linear(mixed.transpose(1, 2).reshape(probes, batch, context, width), out)
