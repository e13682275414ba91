"""Data by path: which reader a file or folder is for. A new kind of source is one file here plus one line below."""

from collections.abc import Callable, Mapping
from pathlib import Path

from adamw_scale.errors import SpecError
from adamw_scale.training.data import arrays, images, tables, text, tokens
from adamw_scale.training.data.dataset import RowData, TokenData
from adamw_scale.training.data.files import refusal
from adamw_scale.training.options import number
from adamw_scale.units import parse_quantity, printable

TRAINING_FILE = "train.bin"
RECORDS: Mapping[str, Callable[[Path, str], TokenData]] = {
    ".jsonl": text.json_lines,
    ".ndjson": text.json_lines,
    ".parquet": text.parquet_text,
    ".pq": text.parquet_text,
}
TOKENS: Mapping[str, Callable[[Path], TokenData]] = {".bin": tokens.token_file, ".npy": tokens.token_file}
ARRAYS: Mapping[str, Callable[[Path, int | None, float], RowData]] = {
    ".npz": arrays.array_pair,
    ".npy": arrays.matrix_file,
}
TABLES: Mapping[str, Callable[[Path, str | None, float], RowData]] = dict.fromkeys(
    (".csv", ".tsv", ".parquet", ".pq"), tables.table_file
)
LARGEST_IMAGE = 1024
TEXTS = "a text file, a folder of them, .jsonl, .parquet, or tokens as .bin or .npy"
ROWS = ".npz with x and y, .npy, .csv, .tsv, .parquet, or a folder with one sub-folder of images a class"


def load_tokens(path: str | None = None, *, field: str | None = None) -> TokenData:
    """Tokens to predict from a file or folder; None for the standard library's sources as bytes.

    `field` names the text in JSON lines and parquet, "text" by default. A folder with a `train.bin` is one of nanoGPT.

    Raises:
        SpecError: nothing there, or not readable as tokens, or too little, or too large.
        MissingExtraError: parquet without the extra `data`.
    """
    file = None if path is None else _existing(path, TEXTS)
    read = RECORDS.get(file.suffix.lower()) if file is not None and file.is_file() else None
    if file is not None and read is not None:
        return read(file, field or text.FIELD)
    if field is not None:
        raise SpecError(f"field = {field} names the text in .jsonl and .parquet: drop it")
    if file is None:
        return text.standard_library()
    if file.is_dir():
        return tokens.token_file(file / TRAINING_FILE) if (file / TRAINING_FILE).is_file() else text.text_folder(file)
    return TOKENS.get(file.suffix.lower(), text.text_file)(file)


def load_rows(
    path: str | None = None,
    *,
    target: str | None = None,
    label_noise: float | str = 0.0,
    image_size: int | str | None = None,
) -> RowData:
    """Examples to classify or regress on from a file or folder; None for scikit-learn's digits.

    Args:
        path: File or folder.
        target: Column of a table; the last one by default.
        label_noise: Fraction of training labels that are replaced by a random class.
        image_size: Side of the square that images are resized to; 32 by default for a folder, else as they are.

    Raises:
        SpecError: nothing there, not readable as examples, too few or too many, or an argument that does not apply.
        MissingExtraError: the extra `data` is needed and not installed.
    """
    noise = number("label_noise", str(label_noise), 0, 1, "fraction", parse_quantity)
    size = None if image_size is None else _size(image_size)
    file = None if path is None else _existing(path, ROWS)
    suffix = file.suffix.lower() if file is not None and file.is_file() else ""
    if file is not None and suffix in TABLES:
        if size is not None:
            raise SpecError(f"image_size = {size} is for images, and --data {path} is a table: drop it")
        return TABLES[suffix](file, target, noise)
    if target is not None:
        raise SpecError(f"target = {target} names a column of .csv, .tsv and .parquet: drop it")
    if file is None:
        return images.digits(size, noise)
    if file.is_dir():
        return images.image_folder(file, size or images.SIZE, noise)
    if suffix not in ARRAYS:
        raise refusal(file, f"{suffix or 'a name without an extension'} is no kind of examples: pass {ROWS}")
    return ARRAYS[suffix](file, size, noise)


def _existing(path: str, readable: str) -> Path:
    file = Path(path)
    try:
        found = file.is_dir() or file.is_file()
    except (OSError, ValueError):  # a name too long, or with a zero byte
        found = False
    if not found:
        raise SpecError(f"--data {printable(path)[:200]}: no such file or folder. Pass {readable}")
    return file.absolute() if file.name in ("", "..") else file


def _size(value: int | str) -> int:
    return int(number("image_size", str(value), 1, LARGEST_IMAGE, "whole number of pixels", parse_quantity))
