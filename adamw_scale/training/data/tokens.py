"""Files of tokens, mapped into memory and never read whole: nanoGPT's .bin, llm.c's .bin, and 1-D .npy.

`train.bin` with `val.bin` beside it (or .npy) holds that out; a file alone is cut into blocks of which every eighth is
held out. At most 2^30 tokens are used: of a longer file, blocks at even distances. The vocabulary is the largest token
in them plus one. Nothing else is read: nanoGPT's meta.pkl is a pickle, which could run code.
"""

from pathlib import Path

import numpy as np

from adamw_scale.training.data.dataset import Array, TokenData
from adamw_scale.training.data.files import reading, refusal
from adamw_scale.training.data.splitting import Chunks, all_blocks, split_spans, token_data
from adamw_scale.units import format_count

HEADER_BYTES = 1024  # of llm.c
HEADERS = {(20240520, 1): "<u2", (20240801, 7): "<u4"}  # (magic, version): type of a token
MAX_VOCABULARY = 1 << 20
AT_A_TIME = 1 << 20  # tokens, while looking for the largest


def token_file(path: Path) -> TokenData:
    """A .bin of 16-bit little-endian tokens, or with llm.c's header, or a .npy array of whole numbers.

    Raises:
        SpecError: empty, not of such tokens, too few of them, or one that no vocabulary has.
    """
    tokens = _mapped(path)
    validation = path.with_name(f"val{path.suffix}")
    if path.stem == "train" and validation.is_file():
        other = _mapped(validation)
        training, held_out = Chunks.of(tokens, all_blocks(tokens)), Chunks.of(other, all_blocks(other))
    else:
        training, held_out = split_spans(tokens, all_blocks(tokens))
    with reading(path, "file of tokens"):
        return token_data(path, training, held_out, max(_vocabulary(path, part) for part in (training, held_out)))


def _mapped(path: Path) -> Array:
    with reading(path, "file of tokens"):
        if path.stat().st_size == 0:
            raise refusal(path, "it is empty: pass a file of tokens")
        return _array(path) if path.suffix.lower() == ".npy" else _bin(path)


def _bin(path: Path) -> Array:
    size = path.stat().st_size
    with path.open("rb") as file:
        header = np.frombuffer(file.read(12).ljust(12, b"\0"), dtype="<i4").tolist()
    kind = HEADERS.get((header[0], header[1])) if size > HEADER_BYTES else None
    offset = HEADER_BYTES if kind else 0
    width = np.dtype(kind or "<u2").itemsize
    if (size - offset) % width or (kind and header[2] * width != size - offset):
        raise refusal(path, f"{size} bytes are not whole tokens of {8 * width} bits: write it again, as nanoGPT does")
    return np.memmap(path, dtype=kind or "<u2", mode="r", offset=offset)


def _array(path: Path) -> Array:
    tokens: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    if tokens.ndim != 1 or tokens.dtype.kind not in "iu":
        raise refusal(
            path,
            f"an array of {tokens.dtype} and shape {tokens.shape} is no stream of tokens: "
            "save a 1-D array of uint16 or uint32",
        )
    return tokens


def _vocabulary(path: Path, part: Chunks) -> int:
    largest, chunks = 0, part.in_order()
    for start in range(0, len(chunks), AT_A_TIME):
        tokens = chunks[start : start + AT_A_TIME]
        largest = max(largest, int(tokens.max()))
        if tokens.min() < 0 or largest >= MAX_VOCABULARY:
            wrong = int(tokens.min()) if tokens.min() < 0 else largest
            raise refusal(
                path,
                f"token {wrong} is in no vocabulary of up to {format_count(MAX_VOCABULARY)}: "
                "pass a file of token numbers",
            )
    return largest + 1
