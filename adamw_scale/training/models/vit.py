"""ViT: the GPT's blocks on patches of an image. Learned positions, mean-pooled, no biases, no dropout."""

from torch import Tensor

from adamw_scale.training.models.model import Model, Scaling, Weights, layer_norm, linear
from adamw_scale.training.models.transformer import HEAD_SIZE, Blocks

__all__ = ["HEAD_SIZE", "ViT"]


class ViT(Model):
    """Vision transformer on square images, cut into square patches.

    Pixels reach the network through input weights (`Scaling.inputs`). Positions start with standard
    deviation 0.02, as in GPT.
    """

    def __init__(
        self, scaling: Scaling, *, channels: int, image_size: int, patch_size: int, width: int, depth: int, outputs: int
    ) -> None:
        self.scaling = scaling
        self.patch_size = patch_size
        self.blocks = Blocks(scaling, width=width, depth=depth, causal=False)
        self.parameters = (
            scaling.inputs("patch_embedding", width, channels * patch_size**2),
            scaling.embedding("position_embedding", (image_size // patch_size) ** 2, width),
            *self.blocks.parameters,
            scaling.gain("final_norm", width),
            scaling.output("output", outputs, width),
        )

    def forward(self, weights: Weights, inputs: Tensor) -> Tensor:
        """Outputs of shape (K, batch, outputs) for images of shape (K, batch, channels, height, width)."""
        embedding = weights["patch_embedding"]
        x = linear(self._patches(inputs).to(embedding.dtype), embedding) + weights["position_embedding"].unsqueeze(1)
        x = layer_norm(self.blocks.forward(weights, x), weights["final_norm"])
        return self.scaling.readout(linear(x.mean(2), weights["output"]))

    def _patches(self, images: Tensor) -> Tensor:
        """(K, batch, patches, channels * patch_size^2), patches in reading order."""
        probes, batch, channels, height, width = images.shape
        size = self.patch_size
        cut = images.reshape(probes, batch, channels, height // size, size, width // size, size)
        return cut.permute(0, 1, 3, 5, 2, 4, 6).flatten(4).flatten(2, 3)
