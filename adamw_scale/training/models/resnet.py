"""ResNet: pre-activation blocks in three stages, with group norm, so that no statistic is shared by a batch."""

from dataclasses import replace

import torch
from torch import Tensor, add
from torch.nn import functional as F

from adamw_scale.training.models.mlp import RELU
from adamw_scale.training.models.model import Model, Parameter, Scaling, Weights, linear

STAGES = 3
CHANNELS_A_GROUP = 8


class ResNet(Model):
    """Pre-activation ResNet (He et al. 2016): `width` channels, doubled where a stage halves the image.

    Each of the three stages has `depth` blocks x + conv(relu(norm(conv(relu(norm(x)))))). A block that
    changes the shape takes its shortcut from the first relu, through a 1 x 1 convolution. Global
    average pooling and a linear head end it. The first convolution has a fixed fan_in: input weights
    (`Scaling.inputs`). Activations are (batch, K * channels, height, width), so that one grouped
    convolution works on all probes.
    """

    def __init__(self, scaling: Scaling, *, channels: int, width: int, depth: int, outputs: int) -> None:
        self.scaling = scaling
        self.blocks: list[Block] = []
        wide = width
        for stage in range(STAGES):
            for i in range(depth):
                stride = 2 if stage and not i else 1
                self.blocks.append(Block(scaling, f"stages.{stage}.{i}.", wide, stride))
                wide *= stride
        self.parameters = (
            _kernel(scaling.inputs("stem", width, channels * 9), channels, 3),
            *(parameter for block in self.blocks for parameter in block.parameters),
            *_norm(scaling, "final_norm", wide),
            scaling.output("output", outputs, wide),
            scaling.bias("output.bias", outputs),
        )

    def forward(self, weights: Weights, inputs: Tensor) -> Tensor:
        """Outputs of shape (K, batch, outputs) for images of shape (K, batch, channels, height, width)."""
        probes = len(inputs)
        x = inputs.to(weights["stem"].dtype).transpose(0, 1).flatten(1, 2)
        x = convolve(x, weights["stem"])
        for block in self.blocks:
            x = block.forward(weights, x)
        x = _relu_of_norm(weights, "final_norm", x).mean((2, 3))
        x = x.view(len(x), probes, -1).transpose(0, 1)
        return self.scaling.readout(linear(x, weights["output"])) + weights["output.bias"].unsqueeze(1)


class Block:
    """One block; with stride 2 it halves the image and doubles the channels."""

    def __init__(self, scaling: Scaling, name: str, channels: int, stride: int) -> None:
        self.residual = scaling.residual
        self.name = name
        self.stride = stride
        wide = channels * stride
        self.parameters: tuple[Parameter, ...] = (
            *_norm(scaling, name + "norm1", channels),
            _kernel(scaling.hidden(name + "conv1", wide, channels * 9, RELU), channels, 3),
            *_norm(scaling, name + "norm2", wide),
            _kernel(scaling.hidden(name + "conv2", wide, wide * 9, RELU), wide, 3),
        )
        if stride > 1:
            self.parameters += (_kernel(scaling.hidden(name + "shortcut", wide, channels, RELU), channels, 1),)

    def forward(self, weights: Weights, x: Tensor) -> Tensor:
        """Shape (batch, K * channels, height, width) in; out as the stride says."""
        active = _relu_of_norm(weights, self.name + "norm1", x)
        shortcut = x if self.stride == 1 else convolve(active, weights[self.name + "shortcut"], self.stride)
        inner = convolve(active, weights[self.name + "conv1"], self.stride)
        inner = _relu_of_norm(weights, self.name + "norm2", inner)
        return add(shortcut, convolve(inner, weights[self.name + "conv2"]), alpha=self.residual)


def convolve(x: Tensor, kernels: Tensor, stride: int = 1) -> Tensor:
    """Same-padded convolution of x (batch, K * in, height, width) with kernels (K, out, in, size, size).

    One grouped kernel on a GPU. On a CPU one kernel a probe: how oneDNN adds up depends on the number of
    groups, and a probe's bits must not depend on the probes beside it.
    """
    padding, probes = kernels.shape[-1] // 2, len(kernels)
    if x.device.type == "cpu":
        pairs = zip(x.chunk(probes, 1), kernels.unbind(), strict=True)
        return torch.cat([F.conv2d(each, kernel, stride=stride, padding=padding) for each, kernel in pairs], 1)
    return F.conv2d(x, kernels.flatten(0, 1), stride=stride, padding=padding, groups=probes)


def _kernel(matrix: Parameter, channels: int, size: int) -> Parameter:
    """A matrix of fan_in channels * size^2 as a convolution's kernel."""
    return replace(matrix, shape=(matrix.shape[1], channels, size, size))


def _norm(scaling: Scaling, name: str, channels: int) -> tuple[Parameter, Parameter]:
    return scaling.gain(name, channels), scaling.bias(name + ".bias", channels)


def _relu_of_norm(weights: Weights, name: str, x: Tensor) -> Tensor:
    """Normalise groups of 8 channels of x (batch, K * channels, height, width) over their pixels, then ReLU."""
    groups = x.shape[1] // CHANNELS_A_GROUP
    return F.relu(F.group_norm(x, groups, weights[name].flatten(), weights[name + ".bias"].flatten()))
