"""Bytes to train on: the Python standard library's own sources, or a text file of the user's.

A corpus is a list of documents. Every eighth document is held out and never trained on. The rest is
cut into 1 KiB chunks, shuffled with a fixed seed, and a data set of n bytes is the first n of them,
so that smaller data sets are prefixes of larger ones.
"""

import random
import sysconfig
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from adamw_scale.errors import ProbeError, SpecError
from adamw_scale.units import format_count

CHUNK_BYTES = 1024
HOLD_OUT_EVERY = 8
HELD_OUT_BYTES = 48 * 1024
MIN_HELD_OUT_BYTES = 4 * 1024
MAX_FILE_BYTES = 1 << 30

# Tests, vendored or generated tables, and files that name the machine they were built on.
_SKIPPED_FOLDERS = {
    "test",
    "tests",
    "site-packages",
    "dist-packages",
    "idlelib",
    "encodings",
    "lib2to3",
    "pydoc_data",
    "__pycache__",
}
_SKIPPED_PREFIX = "_sysconfigdata"


@dataclass(frozen=True)
class Corpus:
    """Training bytes, in the order data sets are prefixes of, and held-out bytes."""

    name: str
    training: bytes
    held_out: bytes


def load_corpus(path: str | None = None) -> Corpus:
    """The corpus in a text file, or by default the standard library's sources.

    Raises:
        SpecError: the file is missing, not a file, too small or larger than 1 GiB.
        ProbeError: this Python comes without its sources.
    """
    if path is None:
        return _standard_library()
    file = Path(path)
    if not file.is_file():
        raise SpecError(f"--data {path}: not a file. Pass a text file")
    if file.stat().st_size > MAX_FILE_BYTES:
        raise SpecError(
            f"--data {path}: {format_count(file.stat().st_size)} bytes is more than this task reads (1 GiB): pass a part of it"
        )
    text = file.read_bytes()
    # A file is one document; cutting it into blocks keeps held-out text apart from training text.
    block = max(CHUNK_BYTES, min(16 * CHUNK_BYTES, len(text) // (4 * HOLD_OUT_EVERY)))
    corpus = _split(file.name, [text[start : start + block] for start in range(0, len(text), block)])
    if len(corpus.held_out) < MIN_HELD_OUT_BYTES:
        raise SpecError(
            f"--data {path}: {format_count(len(text))} bytes leave {len(corpus.held_out)} to hold out, at least "
            f"{MIN_HELD_OUT_BYTES} are needed: pass a text of {HOLD_OUT_EVERY * MIN_HELD_OUT_BYTES // 1024} KiB or more"
        )
    return corpus


@cache
def _standard_library() -> Corpus:
    root = Path(sysconfig.get_path("stdlib"))
    files = sorted(
        path
        for path in root.rglob("*.py")
        if not _SKIPPED_FOLDERS & set(path.relative_to(root).parts) and not path.name.startswith(_SKIPPED_PREFIX)
    )
    if len(files) < 100:
        raise ProbeError(f"this Python has no standard library sources in {root}: pass a text file with --data")
    return _split("python standard library", [path.read_bytes() for path in files])


def _split(name: str, documents: list[bytes]) -> Corpus:
    held_out = [document for i, document in enumerate(documents) if i % HOLD_OUT_EVERY == HOLD_OUT_EVERY - 1]
    training = [document for i, document in enumerate(documents) if i % HOLD_OUT_EVERY != HOLD_OUT_EVERY - 1]
    return Corpus(name, _shuffled_chunks(training), _shuffled_chunks(held_out)[: HELD_OUT_BYTES + 1])


def _shuffled_chunks(documents: list[bytes]) -> bytes:
    chunks = [
        document[start : start + CHUNK_BYTES]
        for document in documents
        for start in range(0, len(document) - CHUNK_BYTES + 1, CHUNK_BYTES)
    ]
    random.Random(0).shuffle(chunks)
    return b"".join(chunks)
