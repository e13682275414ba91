"""How data are split: what is held out is decided by position in the source, never by how much is trained on.

Of documents, blocks of a stream and shuffled rows every eighth is held out. What is left is put in an order that is
shuffled with a fixed seed; a data set is its beginning, so that smaller data sets are prefixes of larger ones.
"""

import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from adamw_scale.training.data.dataset import Array, TokenData
from adamw_scale.training.data.files import refusal
from adamw_scale.units import format_count

HOLD_OUT_EVERY = 8
CHUNK = 1024
BLOCK = 16 * CHUNK
HELD_OUT_TOKENS = 48 * 1024
MIN_HELD_OUT_TOKENS = 4 * 1024
MAX_TOKENS = 1 << 30
SAMPLED_BLOCKS = 1024  # at even distances, of a longer stream
MIN_ROWS = 64
HELD_OUT_ROWS = 8192

Index = NDArray[np.int64]


def shuffled(count: int) -> Index:
    """0 to count - 1 in an order that is the same in every Python."""
    order = list(range(count))
    random.Random(0).shuffle(order)
    return np.array(order, dtype=np.int64)


@dataclass(frozen=True)
class Chunks:
    """Chunks of a token array, one after the other in an order of their own, read only where they are sliced.

    `tokens` may be a memory map; `starts` are positions in it.
    """

    tokens: Array
    starts: Index

    @classmethod
    def of(cls, tokens: Array, spans: Iterable[tuple[int, int]]) -> Self:
        """The whole chunks in each span of the tokens, all shuffled."""
        inside = [np.arange(start, stop - CHUNK + 1, CHUNK) for start, stop in spans]
        starts = np.concatenate([*inside, np.zeros(0, dtype=np.int64)])
        return cls(np.asarray(tokens), starts[shuffled(len(starts))])

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """The type of a token in this machine's byte order."""
        return self.tokens.dtype.newbyteorder("=")

    def __len__(self) -> int:
        return len(self.starts) * CHUNK

    def __getitem__(self, part: slice) -> Array:
        """A copy of consecutive tokens."""
        start, stop, step = part.indices(len(self))
        assert step == 1, "a stream is read forwards"
        first, last = start // CHUNK, -(-max(start, stop) // CHUNK)
        gathered = np.empty((last - first, CHUNK), self.dtype)
        for row, position in zip(gathered, self.starts[first:last].tolist(), strict=True):
            row[:] = self.tokens[position : position + CHUNK]
        return gathered.reshape(-1)[start - first * CHUNK : max(start, stop) - first * CHUNK]

    def in_order(self) -> Self:
        """The same chunks as they lie in the source, for reading all of them."""
        return type(self)(self.tokens, np.sort(self.starts))


def all_blocks(tokens: Array) -> list[tuple[int, int]]:
    """Blocks that cover a stream; of more than `MAX_TOKENS`, that many tokens in blocks at even distances."""
    size = len(tokens)
    if size > MAX_TOKENS:
        block = MAX_TOKENS // SAMPLED_BLOCKS
        return [(start, start + block) for start in (i * size // SAMPLED_BLOCKS for i in range(SAMPLED_BLOCKS))]
    block = max(CHUNK, min(BLOCK, size // (4 * HOLD_OUT_EVERY) // CHUNK * CHUNK))
    return [(start, min(start + block, size)) for start in range(0, size, block)]


def split_spans(tokens: Array, spans: list[tuple[int, int]]) -> tuple[Chunks, Chunks]:
    """Training and held-out chunks: every eighth span is held out."""
    last = HOLD_OUT_EVERY - 1
    training = [span for i, span in enumerate(spans) if i % HOLD_OUT_EVERY != last]
    return Chunks.of(tokens, training), Chunks.of(tokens, spans[last::HOLD_OUT_EVERY])


def token_data(path: Path, training: Chunks, held_out: Chunks, vocabulary: int) -> TokenData:
    """The data of a file or folder; SpecError where too little is left to train on or to hold out."""
    if min(len(training), len(held_out)) < MIN_HELD_OUT_TOKENS:
        raise refusal(
            path,
            f"{format_count(len(training))} tokens to train on and {format_count(len(held_out))} to hold out, at least "
            f"{MIN_HELD_OUT_TOKENS} of each are needed: "
            f"pass {HOLD_OUT_EVERY * MIN_HELD_OUT_TOKENS >> 10} Ki tokens or more",
        )
    return TokenData(path.name, training, held_out[: HELD_OUT_TOKENS + 1], vocabulary)


class Split(NamedTuple):
    """Positions of rows: those to train on, in the order that data sets are prefixes of, and those held out."""

    training: Index
    held_out: Index

    @classmethod
    def of(cls, path: Path, rows: int) -> Self:
        """Every eighth of the shuffled rows is held out, up to `HELD_OUT_ROWS` of them."""
        if rows < MIN_ROWS:
            raise refusal(path, f"{rows} examples are no data set: pass at least {MIN_ROWS}")
        order = shuffled(rows)
        held_out = np.arange(rows) % HOLD_OUT_EVERY == HOLD_OUT_EVERY - 1
        return cls(order[~held_out], order[held_out][:HELD_OUT_ROWS])

    @classmethod
    def given(cls, path: Path, training: int, held_out: int) -> Self:
        """The source says itself what is held out: its last rows."""
        if training < MIN_ROWS or not held_out:
            raise refusal(
                path,
                f"{training} examples to train on and {held_out} to hold out are no data set: "
                f"pass at least {MIN_ROWS} and 1",
            )
        return cls(shuffled(training), training + shuffled(held_out)[:HELD_OUT_ROWS])
