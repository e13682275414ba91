"""What probes train on, once it is read: examples, and how they are split and cut to size.

A `Dataset` holds training examples in an order of which smaller data sets are prefixes, and held-out
examples that are fixed and never trained on, whatever the size. Files are read by the modules beside
this one; they all end in one of these.
"""

import hashlib
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[Any]


class Examples(Protocol):
    """Training examples on a device, taken by index."""

    def __len__(self) -> int: ...

    def to(self, device: str) -> Self:
        """The same examples in a device's memory."""
        ...

    def take(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs and targets of the examples at an integer index of any shape, which becomes their leading shape."""
        ...


@dataclass(frozen=True)
class _Tokens:
    """A stream of tokens on a device, and how many of them an example has for its context."""

    tokens: Tensor
    context: int

    def to(self, device: str) -> Self:
        """The tokens in a device's memory."""
        return type(self)(self.tokens.to(device), self.context)


class Windows(_Tokens):
    """Consecutive, non-overlapping windows of a token stream; the target of a token is the next one.

    `tokens` has shape (windows * context + 1,) and may be of any integer type, or a memory map.
    """

    @classmethod
    def of(cls, tokens: Array, context: int) -> Self:
        """As many whole windows as fit."""
        count = (len(tokens) - 1) // context
        return cls(_integers(tokens[: count * context + 1]), context)

    def __len__(self) -> int:
        return (len(self.tokens) - 1) // self.context

    def take(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Integer tokens of shape (*index.shape, context), twice: inputs and what follows each."""
        span = torch.arange(self.context + 1, device=index.device)
        window = self.tokens[index.unsqueeze(-1) * self.context + span].long()
        return window[..., :-1], window[..., 1:]


class Ngrams(_Tokens):
    """Every token of a stream with the `context` tokens before it; one example a token.

    `tokens` has shape (examples + context,).
    """

    @classmethod
    def of(cls, tokens: Array, context: int) -> Self:
        """An example for each token that has `context` tokens before it."""
        return cls(_integers(tokens), context)

    def __len__(self) -> int:
        return len(self.tokens) - self.context

    def take(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Integer tokens of shape (*index.shape, context), and the one that follows, of shape index.shape."""
        span = torch.arange(self.context + 1, device=index.device)
        window = self.tokens[index.unsqueeze(-1) + span].long()
        return window[..., :-1], window[..., -1]


@dataclass(frozen=True)
class Rows:
    """Independent examples: inputs of shape (n, ...) and targets of shape (n,) or (n, outputs)."""

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.inputs)

    def to(self, device: str) -> Self:
        """The arrays in a device's memory."""
        return type(self)(self.inputs.to(device), self.targets.to(device))

    def take(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs (*index.shape, ...) and targets."""
        return self.inputs[index], self.targets[index]


class TokenStream(Protocol):
    """Tokens in the order that data sets are prefixes of; may be larger than memory, a slice of it is read."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> Array: ...


@dataclass(frozen=True)
class TokenData:
    """A token stream, split: `training` in the order that data sets are prefixes of, and `held_out`.

    `vocabulary` is the number of different tokens a model must know (256 for bytes).
    """

    name: str
    training: TokenStream
    held_out: Array
    vocabulary: int

    @property
    def size(self) -> int:
        """Tokens to train on at most."""
        return len(self.training) - 1

    @property
    def held_out_size(self) -> int:
        """Tokens held out."""
        return len(self.held_out) - 1

    def sha256(self, size: float) -> str:
        """Hash of the exact tokens a data set of this size trains on and holds out."""
        return _hash(self.training[: int(size) + 1], self.held_out)


@dataclass(frozen=True)
class RowData:
    """Independent examples, split: inputs (n, ...) and targets, in the order that data sets are prefixes of.

    `classes` is the number of classes, or None where the targets are numbers to regress on.
    """

    name: str
    training: tuple[Array, Array]
    held_out: tuple[Array, Array]
    classes: int | None

    @property
    def size(self) -> int:
        """Examples to train on at most."""
        return len(self.training[0])

    @property
    def held_out_size(self) -> int:
        """Examples held out."""
        return len(self.held_out[0])

    def sha256(self, size: float) -> str:
        """Hash of the exact examples a data set of this size trains on and holds out."""
        return _hash(*(array[: int(size)] for array in self.training), *self.held_out)


def _integers(tokens: Array) -> Tensor:
    """A copy of the tokens as a tensor: bytes stay bytes, all else becomes 32 bits wide."""
    return torch.from_numpy(np.array(tokens, dtype=np.uint8 if tokens.dtype == np.uint8 else np.int32))


def _hash(*arrays: Array) -> str:
    content = hashlib.sha256()
    for array in arrays:
        content.update(f"{array.dtype.str}{array.shape}".encode())
        content.update(np.ascontiguousarray(array).data)
    return content.hexdigest()[:16]
