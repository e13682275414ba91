"""Arrays of numpy: .npz with inputs and targets, and a .npy matrix whose last column is the target.

Inputs (n, features) are a table, whose columns are standardised; inputs (n, height, width[, channels]) or
(n, channels, height, width) are images. Objects are not loaded: they would be pickles. An .npz with x_train, y_train,
x_test and y_test holds out the latter.
"""

from pathlib import Path
from typing import Any

import numpy as np

from adamw_scale.training.data.columns import numeric_inputs, row_data
from adamw_scale.training.data.dataset import Array, RowData
from adamw_scale.training.data.files import MAX_VALUES, reading, refusal, refuse_size
from adamw_scale.training.data.images import image_inputs
from adamw_scale.training.data.splitting import Split

MAX_ARRAY_BYTES = 1 << 31
MOST_CHANNELS = 4
PAIRS = (("x", "y"), ("X", "y"), ("X", "Y"))
SPLIT = ("x_train", "y_train", "x_test", "y_test")


def array_pair(path: Path, image_size: int | None, label_noise: float) -> RowData:
    """An .npz with arrays x and y, or X and y, or with no more than two, or split as `SPLIT`.

    Raises:
        SpecError: other arrays, of other lengths or other shapes, or more than 2 GiB of them.
    """
    with reading(path, ".npz file of numbers"), path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise refusal(path, "a single array, in spite of its name: rename it to .npy")
        if set(SPLIT) <= set(archive.files):
            x, y, x_test, y_test = _arrays(path, archive, *SPLIT)
            split = Split.given(path, len(x), len(x_test))
            _refuse_other_lengths(path, x_test, y_test)
            x, y = np.concatenate([x, x_test]), np.concatenate([_column(path, y), _column(path, y_test)])
        else:
            x, y = _pair(path, archive)
            split = Split.of(path, len(x))
    _refuse_other_lengths(path, x, y)
    return _rows(path, x, _column(path, y), split, image_size, label_noise)


def matrix_file(path: Path, image_size: int | None, label_noise: float) -> RowData:
    """A .npy array (n, features + 1) of numbers, the last column of which is the target.

    Raises:
        SpecError: an array of another shape or of other things.
    """
    with reading(path, ".npy file of numbers"):
        matrix: Array = np.load(path, mmap_mode="r", allow_pickle=False)
        if matrix.ndim != 2 or matrix.shape[1] < 2:
            raise refusal(
                path,
                f"an array of shape {matrix.shape} is no table: save a matrix with the target as the last column, or "
                "np.savez(FILE, x=inputs, y=targets)",
            )
        split = Split.of(path, len(matrix))
        return _rows(path, matrix[:, :-1], matrix[:, -1], split, image_size, label_noise)


def _pair(path: Path, archive: Any) -> list[Array]:
    names = next((pair for pair in PAIRS if set(pair) <= set(archive.files)), tuple(archive.files))
    if len(names) != 2:
        raise refusal(path, f"arrays {', '.join(archive.files[:20]) or '(none)'}: name them x and y")
    first, second = _arrays(path, archive, *names)
    if names in PAIRS or _dimensions(first) > _dimensions(second):
        return [first, second]
    if _dimensions(first) == _dimensions(second):
        raise refusal(path, f"arrays {names[0]} and {names[1]} could each be the inputs: name them x and y")
    return [second, first]


def _dimensions(array: Array) -> int:
    return array.ndim - (array.ndim > 1 and array.shape[-1] == 1)


def _arrays(path: Path, archive: Any, *names: str) -> list[Array]:
    size = sum(archive.zip.getinfo(f"{name}.npy").file_size for name in names)
    refuse_size(path, size, MAX_ARRAY_BYTES, "bytes of arrays")
    return [archive[name] for name in names]


def _refuse_other_lengths(path: Path, x: Array, y: Array) -> None:
    if not x.ndim or not y.ndim or len(x) != len(y):
        raise refusal(
            path, f"inputs of shape {x.shape} with targets of shape {y.shape}: save as many of one as of the other"
        )


def _column(path: Path, y: Array) -> Array:
    """Targets (n,) or (n, 1)."""
    if y.ndim not in (1, 2) or (y.ndim == 2 and y.shape[1] != 1) or y.dtype.kind not in "biufUS":
        raise refusal(path, f"targets of {y.dtype} and shape {y.shape}: save one number or word an example")
    return y.reshape(-1)


def _rows(path: Path, x: Array, y: Array, split: Split, image_size: int | None, label_noise: float) -> RowData:
    if x.dtype.kind not in "biuf" or x.ndim not in (2, 3, 4) or 0 in x.shape:
        raise refusal(
            path,
            f"inputs of {x.dtype} and shape {x.shape}: save numbers (n, features) or (n, height, width[, channels])",
        )
    if x.ndim == 2:
        if image_size:
            raise refusal(path, "image_size is for images, and this is a table: drop it")
        refuse_size(path, x.size, MAX_VALUES, "values")
        inputs = numeric_inputs(path, x, split.training)
        return row_data(path, (inputs[split.training], inputs[split.held_out]), y, split, label_noise)
    return row_data(path, image_inputs(path, _channels_last(path, x), split, image_size), y, split, label_noise)


def _channels_last(path: Path, images: Array) -> Array:
    if images.ndim == 3:
        return images[..., np.newaxis]
    if images.shape[3] <= MOST_CHANNELS:
        return images
    if images.shape[1] <= MOST_CHANNELS:
        return np.moveaxis(images, 1, 3)
    raise refusal(
        path, f"images of shape {images.shape[1:]} have more than {MOST_CHANNELS} channels: pass grey or colours"
    )
