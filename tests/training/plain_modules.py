"""The built-in networks once more, as anyone would write them in plain torch, one probe each.

Every matrix of ours lies as (in, out) and is `nn.Linear`'s weight transposed; tables, gains and convolution kernels
are as torch has them. `NETWORKS` builds both and a random batch from a run.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adamw_scale.spec.run import TrainingRun
from adamw_scale.training.models.gpt import GPT
from adamw_scale.training.models.mlp import MLP, ByteMLP
from adamw_scale.training.models.model import Model, Scaling
from adamw_scale.training.models.resnet import ResNet
from adamw_scale.training.models.vit import ViT

CLASSES, VOCABULARY, CONTEXT, IMAGE = 5, 64, 8, 8


class Plain(nn.Module):
    """A module that knows which of its parameters is which of ours; `readout` and `residual` are muP's multipliers."""

    def __init__(self, scaling: Scaling) -> None:
        super().__init__()
        self.readout = scaling.groups["output"].forward
        self.residual = scaling.residual

    def parameter(self, name: str) -> nn.Parameter:
        """The parameter that is called so in our network."""
        if name in dict(self.named_parameters()):
            return self.get_parameter(name)
        return self.get_parameter(name + ".weight")

    def load(self, name: str, value: Tensor) -> None:
        """Take over one weight of ours."""
        with torch.no_grad():
            self.parameter(name).copy_(self.lies_here(name, value))

    def lies_here(self, name: str, value: Tensor) -> Tensor:
        """A weight of ours as it lies in this module."""
        owner = self.get_submodule(name) if name in dict(self.named_modules()) else None
        return value.T if isinstance(owner, nn.Linear) else value


class PlainMLP(Plain):
    """Linear, ReLU, ..., linear."""

    def __init__(self, scaling: Scaling, inputs: int, width: int, depth: int, outputs: int) -> None:
        super().__init__(scaling)
        self.layers = nn.ModuleList(nn.Linear(width if i else inputs, width) for i in range(depth))
        self.output = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, ...) -> (batch, outputs)."""
        x = x.flatten(1)
        for layer in self.layers:
            x = torch.relu(layer(x))
        return self.readout * (x @ self.output.weight.T) + self.output.bias


class PlainByteMLP(PlainMLP):
    """Embeddings of the last tokens, concatenated, through the MLP."""

    def __init__(self, scaling: Scaling, vocabulary: int, width: int, depth: int, context: int) -> None:
        super().__init__(scaling, 16 * context, width, depth, vocabulary)
        self.token_embedding = nn.Embedding(vocabulary, 16)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, context) -> (batch, vocabulary)."""
        return super().forward(self.token_embedding(x))


class PlainBlock(nn.Module):
    """Pre-norm attention and MLP."""

    def __init__(self, width: int, residual: float, causal: bool) -> None:
        super().__init__()
        self.heads, self.residual, self.causal = max(1, width // 32), residual, causal
        self.attention_norm, self.mlp_norm = nn.LayerNorm(width, bias=False), nn.LayerNorm(width, bias=False)
        self.qkv, self.attention_out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.mlp_in, self.mlp_out = nn.Linear(width, 4 * width, bias=False), nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, context, width) in and out."""
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in self.qkv(self.attention_norm(x)).chunk(3, -1)
        )
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=self.causal).transpose(1, 2).flatten(2)
        x = x + self.residual * self.attention_out(mixed)
        return x + self.residual * self.mlp_out(F.gelu(self.mlp_in(self.mlp_norm(x))))


class PlainGPT(Plain):
    """Decoder with learned positions and an untied output."""

    def __init__(self, scaling: Scaling, vocabulary: int, width: int, depth: int, context: int) -> None:
        super().__init__(scaling)
        self.token_embedding, self.position_embedding = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
        self.blocks = nn.ModuleList(PlainBlock(width, self.residual, causal=True) for _ in range(depth))
        self.final_norm, self.output = nn.LayerNorm(width, bias=False), nn.Linear(width, vocabulary, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, context) -> (batch, context, vocabulary)."""
        x = self.token_embedding(x) + self.position_embedding(torch.arange(x.shape[1], device=x.device))
        for block in self.blocks:
            x = block(x)
        return self.readout * self.output(self.final_norm(x))


class PlainViT(Plain):
    """The same blocks on patches, mean-pooled."""

    def __init__(
        self, scaling: Scaling, channels: int, patch: int, patches: int, width: int, depth: int, outputs: int
    ) -> None:
        super().__init__(scaling)
        self.patch = patch
        self.patch_embedding = nn.Linear(channels * patch**2, width, bias=False)
        self.position_embedding = nn.Embedding(patches, width)
        self.blocks = nn.ModuleList(PlainBlock(width, self.residual, causal=False) for _ in range(depth))
        self.final_norm, self.output = nn.LayerNorm(width, bias=False), nn.Linear(width, outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) -> (batch, outputs)."""
        patches = F.unfold(x, self.patch, stride=self.patch).transpose(1, 2)
        x = self.patch_embedding(patches) + self.position_embedding.weight
        for block in self.blocks:
            x = block(x)
        return self.readout * self.output(self.final_norm(x).mean(1))


class PlainResNetBlock(nn.Module):
    """Pre-activation block; its shortcut is a 1 x 1 convolution where the shape changes."""

    def __init__(self, channels: int, stride: int, residual: float) -> None:
        super().__init__()
        wide, self.residual = channels * stride, residual
        self.norm1, self.norm2 = nn.GroupNorm(channels // 8, channels), nn.GroupNorm(wide // 8, wide)
        self.conv1 = nn.Conv2d(channels, wide, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(wide, wide, 3, 1, 1, bias=False)
        self.shortcut = nn.Conv2d(channels, wide, 1, stride, bias=False) if stride > 1 else None

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width), halved and doubled at stride 2."""
        active = torch.relu(self.norm1(x))
        shortcut = x if self.shortcut is None else self.shortcut(active)
        return shortcut + self.residual * self.conv2(torch.relu(self.norm2(self.conv1(active))))


class PlainResNet(Plain):
    """Stem, three stages, pool, head."""

    def __init__(self, scaling: Scaling, channels: int, width: int, depth: int, outputs: int) -> None:
        super().__init__(scaling)
        self.stem = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        stages, wide = [], width
        for stage in range(3):
            blocks = []
            for i in range(depth):
                stride = 2 if stage and not i else 1
                blocks.append(PlainResNetBlock(wide, stride, self.residual))
                wide *= stride
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.Sequential(*stages)
        self.final_norm, self.output = nn.GroupNorm(wide // 8, wide), nn.Linear(wide, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) -> (batch, outputs)."""
        x = torch.relu(self.final_norm(self.stages(self.stem(x)))).mean((2, 3))
        return self.readout * (x @ self.output.weight.T) + self.output.bias


@dataclass(frozen=True)
class Network:
    """A network of ours, its twin, and random examples for both."""

    model: Model
    plain: Callable[[], Plain]
    inputs: Callable[[int, torch.Generator], Tensor]
    targets: Callable[[int, torch.Generator], Tensor]


def _tokens(*shape: int) -> Callable[[int, torch.Generator], Tensor]:
    return lambda count, generator: torch.randint(VOCABULARY, (count, *shape), generator=generator)


def _numbers(*shape: int) -> Callable[[int, torch.Generator], Tensor]:
    return lambda count, generator: torch.randn(count, *shape, generator=generator, dtype=torch.float64)


def _labels(count: int, generator: torch.Generator) -> Tensor:
    return torch.randint(CLASSES, (count,), generator=generator)


def _mlp(scaling: Scaling, width: int) -> Network:
    model = MLP(scaling, inputs=12, width=width, depth=2, outputs=CLASSES)
    return Network(model, lambda: PlainMLP(scaling, 12, width, 2, CLASSES), _numbers(12), _labels)


def _byte_mlp(scaling: Scaling, width: int) -> Network:
    model = ByteMLP(scaling, vocabulary=VOCABULARY, width=width, depth=2, context=CONTEXT)
    return Network(model, lambda: PlainByteMLP(scaling, VOCABULARY, width, 2, CONTEXT), _tokens(CONTEXT), _tokens())


def _gpt(scaling: Scaling, width: int) -> Network:
    model = GPT(scaling, vocabulary=VOCABULARY, width=width, depth=2, context=CONTEXT)
    return Network(model, lambda: PlainGPT(scaling, VOCABULARY, width, 2, CONTEXT), _tokens(CONTEXT), _tokens(CONTEXT))


def _vit(scaling: Scaling, width: int) -> Network:
    model = ViT(scaling, channels=3, image_size=IMAGE, patch_size=2, width=width, depth=2, outputs=CLASSES)
    return Network(model, lambda: PlainViT(scaling, 3, 2, 16, width, 2, CLASSES), _numbers(3, IMAGE, IMAGE), _labels)


def _resnet(scaling: Scaling, width: int) -> Network:
    model = ResNet(scaling, channels=3, width=width // 2, depth=1, outputs=CLASSES)
    return Network(model, lambda: PlainResNet(scaling, 3, width // 2, 1, CLASSES), _numbers(3, IMAGE, IMAGE), _labels)


_BUILDERS = {"mlp": _mlp, "byte-mlp": _byte_mlp, "gpt": _gpt, "vit": _vit, "resnet": _resnet}
NETWORKS = tuple(_BUILDERS)


def network(name: str, run: TrainingRun) -> Network:
    """Both forms of a network, of the run's width (16 by default, 32 of transformers) and parametrization."""
    width = int(run.width or (32 if name in ("gpt", "vit") else 16))
    return _BUILDERS[name](Scaling.of(run), width)
