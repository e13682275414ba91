"""GPT: the usual decoder. Learned positions, pre-norm blocks, GELU, untied output, no biases."""

from torch import Tensor

from adamw_scale.training.models.model import Model, Scaling, Weights, layer_norm, linear, lookup
from adamw_scale.training.models.transformer import HEAD_SIZE, Blocks

__all__ = ["GPT", "HEAD_SIZE"]


class GPT(Model):
    """Decoder-only transformer over `vocabulary` symbols.

    Embeddings start normal with standard deviation 0.02, the output with 1/sqrt(width), blocks as `Blocks` says.
    """

    def __init__(self, scaling: Scaling, *, vocabulary: int, width: int, depth: int, context: int) -> None:
        self.scaling = scaling
        self.blocks = Blocks(scaling, width=width, depth=depth, causal=True)
        self.parameters = (
            scaling.embedding("token_embedding", vocabulary, width),
            scaling.embedding("position_embedding", context, width),
            *self.blocks.parameters,
            scaling.gain("final_norm", width),
            scaling.output("output", vocabulary, width),
        )

    def forward(self, weights: Weights, inputs: Tensor) -> Tensor:
        """Logits of shape (K, batch, context, vocabulary) for integer tokens of shape (K, batch, context)."""
        positions = weights["position_embedding"][:, : inputs.shape[2]]
        x = lookup(weights["token_embedding"], inputs) + positions.unsqueeze(1)
        x = self.blocks.forward(weights, x)
        return self.scaling.readout(linear(layer_norm(x, weights["final_norm"]), weights["output"]))
