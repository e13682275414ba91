"""Pre-norm transformer blocks, which GPT and ViT share: GELU, no biases, no dropout."""

from torch import Tensor, add
from torch.nn import functional as F

from adamw_scale.training.models.model import Parameter, Scaling, Weights, attention, layer_norm, linear

HEAD_SIZE = 32


class Blocks:
    """`depth` blocks: x + attention(norm(x)), then x + mlp(norm(x)), each branch times the residual multiplier.

    Matrices start normal with standard deviation 1/sqrt(fan_in), shrunk by 1/sqrt(2 * depth) where they
    write into the residual stream (GPT-2). Heads are 32 wide at every width, so attention's
    1/sqrt(head size) needs no muP correction; a model narrower than that has one head.
    """

    def __init__(self, scaling: Scaling, *, width: int, depth: int, causal: bool) -> None:
        self.residual = scaling.residual
        self.depth = depth
        self.num_heads = max(1, width // HEAD_SIZE)
        self.causal = causal
        shrink = (2 * depth) ** -0.5
        parameters: list[Parameter] = []
        for i in range(depth):
            parameters += [
                scaling.gain(f"blocks.{i}.attention_norm", width),
                scaling.hidden(f"blocks.{i}.qkv", 3 * width, width),
                scaling.hidden(f"blocks.{i}.attention_out", width, width, shrink),
                scaling.gain(f"blocks.{i}.mlp_norm", width),
                scaling.hidden(f"blocks.{i}.mlp_in", 4 * width, width),
                scaling.hidden(f"blocks.{i}.mlp_out", width, 4 * width, shrink),
            ]
        self.parameters = tuple(parameters)

    def forward(self, weights: Weights, x: Tensor) -> Tensor:
        """Shape (K, batch, context, width) in and out."""
        for i in range(self.depth):
            block = f"blocks.{i}."
            normal = layer_norm(x, weights[block + "attention_norm"])
            qkv, out = weights[block + "qkv"], weights[block + "attention_out"]
            x = add(x, attention(normal, qkv, out, self.num_heads, causal=self.causal), alpha=self.residual)
            grown = F.gelu(linear(layer_norm(x, weights[block + "mlp_norm"]), weights[block + "mlp_in"]))
            x = add(x, linear(grown, weights[block + "mlp_out"]), alpha=self.residual)
        return x
