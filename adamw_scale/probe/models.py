"""Small models that probes train, in plain torch.

`GPT` is the usual decoder: learned positions, pre-norm blocks, GELU, untied output, no biases. Its
matrices are the only tensors with two dimensions, so "decay what has at least two dimensions"
decays embeddings, attention, MLP and output, and leaves the norm gains alone.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Block(nn.Module):
    """Pre-norm transformer block: x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.attention_norm = nn.LayerNorm(width, bias=False)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.attention_out = nn.Linear(width, width, bias=False)
        self.mlp_norm = nn.LayerNorm(width, bias=False)
        self.mlp_in = nn.Linear(width, 4 * width, bias=False)
        self.mlp_out = nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (batch, context, width) in and out."""
        batch, context, width = x.shape
        heads = self.qkv(self.attention_norm(x)).view(batch, context, 3, self.num_heads, -1)
        query, key, value = heads.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.attention_out(mixed.transpose(1, 2).reshape(batch, context, width))
        grown: Tensor = x + self.mlp_out(F.gelu(self.mlp_in(self.mlp_norm(x))))
        return grown


class GPT(nn.Module):
    """Decoder-only transformer over a vocabulary of `vocabulary` symbols.

    Initialisation: normal with standard deviation 0.02 for embeddings, 1/sqrt(fan_in) for matrices,
    shrunk by 1/sqrt(2 * depth) where a matrix writes into the residual stream (GPT-2).
    """

    def __init__(self, *, vocabulary: int, width: int, depth: int, context: int, head_size: int) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(vocabulary, width)
        self.position_embedding = nn.Embedding(context, width)
        self.blocks = nn.ModuleList(Block(width, max(1, width // head_size)) for _ in range(depth))
        self.final_norm = nn.LayerNorm(width, bias=False)
        self.output = nn.Linear(width, vocabulary, bias=False)
        for name, parameter in self.named_parameters():
            if "embedding" in name:
                nn.init.normal_(parameter, std=0.02)
            elif parameter.ndim >= 2:
                residual = name.endswith(("attention_out.weight", "mlp_out.weight"))
                shrink = (2 * depth) ** -0.5 if residual else 1.0
                nn.init.normal_(parameter, std=shrink * parameter.shape[1] ** -0.5)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits of shape (batch, context, vocabulary) for integer tokens of shape (batch, context)."""
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.token_embedding(tokens) + self.position_embedding(positions)
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.output(self.final_norm(x))
        return logits
