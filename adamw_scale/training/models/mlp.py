"""MLP: ReLU between matrices with biases; on its own, and as Bengio's language model over the last few bytes."""

from torch import Tensor
from torch.nn import functional as F

from adamw_scale.training.models.model import Model, Parameter, Scaling, Weights, linear, lookup

RELU = 2**0.5  # what makes up for the half of the variance that ReLU drops (He et al. 2015)
EMBEDDING_SIZE = 16


class MLP(Model):
    """Flattened inputs -> width -> ... -> width -> outputs, with `depth` hidden layers.

    The first matrix has a fan_in that does not grow with width, so it is of muP's kind of input weights
    (`Scaling.inputs`): group "embedding". There is no residual stream, so CompleteP's depth
    multiplier has nothing to act on.
    """

    def __init__(self, scaling: Scaling, *, inputs: int, width: int, depth: int, outputs: int) -> None:
        self.scaling = scaling
        self.depth = depth
        parameters: list[Parameter] = [scaling.inputs("layers.0", width, inputs), scaling.bias("layers.0.bias", width)]
        for i in range(1, depth):
            parameters += [scaling.hidden(f"layers.{i}", width, width, RELU), scaling.bias(f"layers.{i}.bias", width)]
        parameters += [scaling.output("output", outputs, width), scaling.bias("output.bias", outputs)]
        self.parameters = tuple(parameters)

    def forward(self, weights: Weights, inputs: Tensor) -> Tensor:
        """Outputs of shape (K, batch, outputs) for inputs of shape (K, batch, ...)."""
        x = inputs.flatten(2).to(weights["layers.0"].dtype)
        for i in range(self.depth):
            x = F.relu(linear(x, weights[f"layers.{i}"], weights[f"layers.{i}.bias"]))
        return self.scaling.readout(linear(x, weights["output"])) + weights["output.bias"].unsqueeze(1)


class ByteMLP(Model):
    """Neural probabilistic language model (Bengio et al. 2003): embeddings of the last `context` bytes, then an MLP.

    Embeddings are 16 wide at every width, and start with standard deviation 1.
    """

    def __init__(self, scaling: Scaling, *, vocabulary: int, width: int, depth: int, context: int) -> None:
        self.scaling = scaling
        self.mlp = MLP(scaling, inputs=context * EMBEDDING_SIZE, width=width, depth=depth, outputs=vocabulary)
        self.parameters = (
            scaling.embedding("token_embedding", vocabulary, EMBEDDING_SIZE, std=1.0),
            *self.mlp.parameters,
        )

    def forward(self, weights: Weights, inputs: Tensor) -> Tensor:
        """Logits of shape (K, batch, vocabulary) for integer tokens of shape (K, batch, context)."""
        return self.mlp.forward(weights, lookup(weights["token_embedding"], inputs))
