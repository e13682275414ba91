"""Text as bytes (vocabulary 256): a file, a folder of files, JSON lines, a parquet column, or the standard library.

A folder's files and a table's records are documents. Every eighth document is held out; the others are joined with a
newline and cut into 1 KiB chunks, which are shuffled with a fixed seed. A file, and fewer than 64 documents joined, is
cut into blocks of which every eighth is held out. At most 1 GiB of text is read. No encoding is asked for.
"""

import json
import re
import sysconfig
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import numpy as np

from adamw_scale.errors import ProbeError
from adamw_scale.training.data.dataset import Array, TokenData
from adamw_scale.training.data.files import MAX_BYTES, data_library, files_below, reading, refusal, refuse_size
from adamw_scale.training.data.splitting import (
    HELD_OUT_TOKENS,
    HOLD_OUT_EVERY,
    Chunks,
    all_blocks,
    split_spans,
    token_data,
)
from adamw_scale.units import printable

FIELD = "text"
BYTES = 256  # vocabulary
FEW_DOCUMENTS = 8 * HOLD_OUT_EVERY
SNIFFED = 8192  # bytes of a file in which text has no zero
RECORDS = 1024  # of a parquet file at a time

# Tests, vendored or generated tables, and files that name the machine they were built on.
_SKIPPED_FOLDER = re.compile("tests?|(site|dist)-packages|idlelib|encodings|lib2to3|pydoc_data|__pycache__")
_SKIPPED_PREFIX = "_sysconfigdata"
_TEXTS = re.compile("(large_)?(string|binary)|string_view")  # types of arrow


@cache
def standard_library() -> TokenData:
    """The sources of the Python standard library, some 8 MB; no chunk reaches over two files.

    Raises:
        ProbeError: this Python comes without its sources.
    """
    root = Path(sysconfig.get_path("stdlib"))
    files = sorted(
        path
        for path in root.rglob("*.py")
        if not any(map(_SKIPPED_FOLDER.fullmatch, path.relative_to(root).parts))
        and not path.name.startswith(_SKIPPED_PREFIX)
    )
    if len(files) < 100:
        raise ProbeError(f"this Python has no standard library sources in {root}: pass a text file with --data")
    documents = [path.read_bytes() for path in files]
    ends = np.cumsum([len(document) for document in documents]).tolist()
    training, held_out = split_spans(_tokens(b"".join(documents)), list(zip([0, *ends], ends, strict=False)))
    return TokenData("python standard library", training, held_out[: HELD_OUT_TOKENS + 1], BYTES)


def text_file(path: Path) -> TokenData:
    """Any file of text, as its bytes.

    Raises:
        SpecError: empty, binary, too small, or larger than 1 GiB.
    """
    with reading(path, "text file"):
        refuse_size(path, path.stat().st_size)
        if _is_binary(path):
            raise refusal(
                path, "binary, of no kind that is read: pass text (UTF-8), .jsonl, .parquet, or tokens as .bin or .npy"
            )
        return _in_blocks(path, path.read_bytes())


def text_folder(path: Path) -> TokenData:
    """Every text file below a folder, in order of their names; hidden and binary files are passed over.

    Raises:
        SpecError: no text in it, or too little, or more than 1 GiB.
    """
    with reading(path, "folder"):
        texts = [file for file in files_below(path) if not _is_binary(file)]
        if not texts:
            raise refusal(path, "no text files in this folder. Pass a folder of them, or a single file")
        refuse_size(path, sum(file.stat().st_size for file in texts))
        return _of_documents(path, (file.read_bytes() for file in texts))


def json_lines(path: Path, field: str = FIELD) -> TokenData:
    """One JSON object a line; the string in `field` is a document.

    Raises:
        SpecError: a line is no such object, or the texts are too short, or the file is larger than 1 GiB.
    """
    with reading(path, "file of JSON lines"):
        refuse_size(path, path.stat().st_size)
        return _of_documents(path, _json_documents(path, field))


def _json_documents(path: Path, field: str) -> Iterator[bytes]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as error:
                says = printable(str(error))[:80]
                raise refusal(path, f"line {number} is not JSON ({says}): write one object a line") from None
            if not isinstance(record, dict) or not isinstance(record.get(field), str):
                has = ", ".join(list(record)[:20]) if isinstance(record, dict) else type(record).__name__
                raise refusal(
                    path,
                    f"line {number} has no text in field {field!r} (it has {printable(has)[:160]}): "
                    "pass --task-option field=NAME",
                )
            yield record[field].encode("utf-8", "surrogatepass")


def parquet_text(path: Path, field: str = FIELD) -> TokenData:
    """A column of strings in a parquet file; each is a document, and nulls are none.

    Raises:
        MissingExtraError: pyarrow is not installed.
        SpecError: no such column, or not of strings, or too little text or more than 1 GiB.
    """
    parquet = data_library("pyarrow.parquet", "pyarrow", "reading parquet")
    with reading(path, "parquet file"), parquet.ParquetFile(path) as file:
        schema = file.schema_arrow
        if schema.names.count(field) != 1 or not _TEXTS.fullmatch(str(schema.field(field).type)):
            columns = ", ".join(f"{each.name} ({each.type})" for each in list(schema)[:20])
            raise refusal(
                path,
                f"no column of text named {field!r} (it has {printable(columns)[:160]}): pass --task-option field=NAME",
            )
        values = (
            value
            for batch in file.iter_batches(RECORDS, columns=[field], use_threads=False)
            for value in batch.column(0).to_pylist()
            if value is not None
        )
        return _of_documents(path, (value.encode() if isinstance(value, str) else value for value in values))


def _of_documents(path: Path, documents: Iterable[bytes]) -> TokenData:
    texts, size = list[bytes](), 0
    for document in documents:
        texts.append(document)
        size += len(document) + 1
        refuse_size(path, size, MAX_BYTES, "bytes of text")
    if len(texts) < FEW_DOCUMENTS:
        return _in_blocks(path, b"\n".join(texts))
    last = HOLD_OUT_EVERY - 1
    training = _tokens(b"\n".join(text for i, text in enumerate(texts) if i % HOLD_OUT_EVERY != last))
    held_out = _tokens(b"\n".join(texts[last::HOLD_OUT_EVERY]))
    return token_data(path, Chunks.of(training, [(0, len(training))]), Chunks.of(held_out, [(0, len(held_out))]), BYTES)


def _in_blocks(path: Path, text: bytes) -> TokenData:
    tokens = _tokens(text)
    return token_data(path, *split_spans(tokens, all_blocks(tokens)), BYTES)


def _tokens(text: bytes) -> Array:
    return np.frombuffer(text, dtype=np.uint8)


def _is_binary(file: Path) -> bool:
    with file.open("rb") as content:
        return b"\0" in content.read(SNIFFED)
