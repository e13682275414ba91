"""Tables with a target column: CSV (commas), TSV (tabs) and parquet.

The first line of CSV and TSV names the columns. Numbers are standardised by the training rows, a missing one becomes
their mean. Words become one input for each value, up to 64 values; a missing one is 0 in all of them. What the target
is, see `columns.row_data`. At most 1 GiB is read, and 2^28 inputs made of it.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np

from adamw_scale.training.data.columns import row_data, standardised
from adamw_scale.training.data.dataset import Array, RowData
from adamw_scale.training.data.files import MAX_VALUES, data_library, reading, refusal, refuse_size
from adamw_scale.training.data.splitting import Index, Split
from adamw_scale.units import printable

MAX_WORDS = 64
DELIMITERS = {".csv": ",", ".tsv": "\t"}
NUMBERS = re.compile(r"(u?int|half|float|double|bool|decimal|null)")
WORDS = re.compile(r"(large_)?(string|binary)")
PANDAS_INDEX = re.compile(r"__index_level_\d+__")


def table_file(path: Path, target: str | None, label_noise: float) -> RowData:
    """The examples of a table: all columns but the target, which is the last one unless it is named.

    Raises:
        MissingExtraError: pyarrow is not installed.
        SpecError: no such column, ragged lines, a column that is neither numbers nor words, or too many words.
    """
    arrow = data_library("pyarrow", "pyarrow", "reading tables")
    with reading(path, f"{path.suffix} table"):
        table = _csv(path, arrow) if path.suffix.lower() in DELIMITERS else _parquet(path)
        names = [each for each in table.column_names if not PANDAS_INDEX.fullmatch(each)]
        name = _target(path, names, target)
        split = Split.of(path, table.num_rows)
        targets = _targets(path, name, table.column(name))
        columns = [(each, _plain(path, each, table.column(each))) for each in names if each != name]
        inputs = _inputs(path, columns, split.training, table.num_rows)
    return row_data(path, (inputs[split.training], inputs[split.held_out]), targets, split, label_noise)


def _csv(path: Path, arrow: Any) -> Any:
    refuse_size(path, path.stat().st_size)
    csv = data_library("pyarrow.csv", "pyarrow", "reading tables")
    delimiter = DELIMITERS[path.suffix.lower()]
    table = csv.read_csv(path, parse_options=csv.ParseOptions(delimiter=delimiter, newlines_in_values=True))
    if all(_is_number(name) for name in table.column_names):
        raise refusal(path, "its first line is numbers: begin with a line that names the columns")
    return table


def _parquet(path: Path) -> Any:
    parquet = data_library("pyarrow.parquet", "pyarrow", "reading tables")
    with parquet.ParquetFile(path) as file:
        groups = (file.metadata.row_group(i) for i in range(file.metadata.num_row_groups))
        refuse_size(path, sum(group.total_byte_size for group in groups))
        return file.read(use_threads=False)


def _target(path: Path, names: list[str], target: str | None) -> str:
    shown = printable(", ".join(names[:20]))[:160]
    if len(names) < 2:
        raise refusal(
            path, f"one column only ({shown}): pass inputs and a target, separated by commas in .csv or tabs in .tsv"
        )
    if target is not None and target not in names:
        raise refusal(path, f"no column {target!r}: pass one of {shown} with --task-option target=NAME")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise refusal(path, f"two columns are named {printable(twice)[:60]!r}: rename one")
    return target or names[-1]


def _plain(path: Path, name: str, column: Any) -> Array | tuple[Array, int]:
    """A column as numbers, NaN where missing; or as codes of its words, -1 where missing, and how many words."""
    column = _decoded(column)
    kind = str(column.type)
    if NUMBERS.match(kind):
        return np.asarray(column.cast("float64", safe=False).to_numpy())
    if not WORDS.match(kind):
        raise refusal(path, f"column {printable(name)[:60]!r} is of {kind}: drop it, or write it as numbers or words")
    coded = column.combine_chunks().dictionary_encode()
    coded = coded if hasattr(coded, "indices") else coded.chunk(0)
    words = coded.dictionary.to_pylist()
    rank = np.empty(len(words) + 1, np.int64)
    rank[sorted(range(len(words)), key=words.__getitem__)] = np.arange(len(words))
    rank[-1] = -1
    return rank[coded.indices.fill_null(len(words)).to_numpy(zero_copy_only=False)], len(words)


def _targets(path: Path, name: str, column: Any) -> Array:
    plain = _plain(path, name, column)
    if column.null_count:
        raise refusal(path, f"{column.null_count} targets are missing: remove those rows")
    if isinstance(plain, tuple):
        return plain[0]
    return plain.astype(np.int64) if re.match(r"u?int|bool", str(_decoded(column).type)) else plain


def _decoded(column: Any) -> Any:
    """A dictionary-encoded column, such as pandas' categories, as its values."""
    return column.cast(column.type.value_type) if hasattr(column.type, "index_type") else column


def _inputs(path: Path, columns: list[tuple[str, Array | tuple[Array, int]]], training: Index, rows: int) -> Array:
    wordy = [name for name, plain in columns if isinstance(plain, tuple) and plain[1] > MAX_WORDS]
    if wordy:
        raise refusal(
            path,
            f"more than {MAX_WORDS} different words in {printable(', '.join(wordy))[:160]}: "
            "drop such columns of names or texts",
        )
    width = sum(plain[1] if isinstance(plain, tuple) else 1 for _, plain in columns)
    refuse_size(path, rows * width, MAX_VALUES, "inputs")
    inputs, j = np.zeros((rows, width), np.float32), 0
    for name, plain in columns:
        if isinstance(plain, tuple):
            codes, words = plain
            known = codes >= 0
            inputs[np.flatnonzero(known), j + codes[known]] = 1.0
            j += words
        else:
            inputs[:, j] = standardised(path, f"column {printable(name)[:60]!r}", plain, training)
            j += 1
    return inputs


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
