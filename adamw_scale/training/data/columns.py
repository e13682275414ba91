"""Columns as a network needs them: numbers standardised by the training rows, classes counted, labels made noisy."""

from pathlib import Path

import numpy as np

from adamw_scale.training.data.dataset import Array, RowData
from adamw_scale.training.data.files import refusal
from adamw_scale.training.data.splitting import Index, Split

FEW_VALUES = 20  # up to which floats that are all whole are classes
ROWS_A_CLASS = 4  # on average, below which whole numbers and words are no classes


def standardised(path: Path, name: str, values: Array, training: Index) -> Array:
    """Numbers of mean 0 and standard deviation 1 over the training rows, in 32 bits.

    NaN is a missing value and becomes the mean. A column that is constant in training becomes 0.

    Raises:
        SpecError: infinity, or numbers too large to square.
    """
    numbers = values.astype(np.float64)
    known = numbers[training]
    known = known[~np.isnan(known)]
    constant = not len(known) or known.min() == known.max()
    with np.errstate(all="ignore"):
        mean, deviation = (0.0, np.inf) if constant else (known.mean(), known.std())
        scaled: Array = ((numbers - mean) / deviation).astype(np.float32)
    if np.isinf(numbers).any() or np.isinf(scaled).any() or not (constant or np.isfinite(deviation)):
        raise refusal(path, f"{name} has values that are infinite or nearly so: remove those rows, or scale it")
    scaled[np.isnan(numbers)] = 0.0
    return scaled


def numeric_inputs(path: Path, matrix: Array, training: Index) -> Array:
    """Each column of a matrix (n, features), standardised."""
    inputs = np.empty(matrix.shape, np.float32)
    for j in range(matrix.shape[1]):
        inputs[:, j] = standardised(path, f"column {j} of the inputs", matrix[:, j], training)
    return inputs


def row_data(path: Path, inputs: tuple[Array, Array], targets: Array, split: Split, label_noise: float) -> RowData:
    """Inputs to train on and held out, with the targets of all rows as the source has them.

    Whole numbers and words are classes, and so are floats that are all whole and of at most 20 values; other floats are
    regressed on. `label_noise` is the fraction of training labels that are replaced by a random class.

    Raises:
        SpecError: missing or infinite targets, one class only or nearly as many as rows, noise on what has no classes.
    """
    if targets.dtype.kind == "f" and not _are_classes(path, targets):
        if label_noise:
            raise refusal(path, "label_noise is of classes, and its targets are numbers: drop label_noise")
        numbers = standardised(path, "the target", targets, split.training)
        if not numbers.any():
            raise refusal(path, "the target has a single value: choose another, or other rows")
        return RowData(
            path.name, (inputs[0], numbers[split.training]), (inputs[1], numbers[split.held_out]), classes=None
        )
    values, codes = np.unique(targets, return_inverse=True)
    codes, classes = codes.astype(np.int64), len(values)
    if classes < 2 or classes * ROWS_A_CLASS > len(targets):
        raise refusal(
            path,
            f"{classes} classes among {len(targets)} targets (whole numbers and words are classes): pass 2 or more "
            f"with at least {ROWS_A_CLASS} examples each, or write numbers to regress on with a decimal point",
        )
    labels = with_noise(codes[split.training], classes, label_noise)
    return RowData(path.name, (inputs[0], labels), (inputs[1], codes[split.held_out]), classes)


def _are_classes(path: Path, targets: Array) -> bool:
    if not np.isfinite(targets).all():
        count = int((~np.isfinite(targets)).sum())
        raise refusal(path, f"{count} targets are missing or infinite: remove those rows")
    return bool((targets == np.trunc(targets)).all()) and len(np.unique(targets)) <= FEW_VALUES


def with_noise(labels: Array, classes: int, fraction: float) -> Array:
    """Labels of which a fraction, chosen with a fixed seed, are replaced by a class drawn uniformly from all."""
    draw = np.random.RandomState(0)
    chosen = draw.random_sample(len(labels)) < fraction
    return np.where(chosen, draw.randint(0, classes, len(labels)), labels)
