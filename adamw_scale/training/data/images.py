"""Images: a folder with one sub-folder per class, or scikit-learn's digits, as (n, channels, height, width) of 32 bits.

Files are PNG, JPEG and what else Pillow opens with 8 bits a channel, as RGB, resized to a square. Channels have mean 0
and standard deviation 1 over the training images. Of more than 32,768 images, or 2^28 values, a random part is used.
"""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from adamw_scale.training.data.columns import row_data
from adamw_scale.training.data.dataset import Array, RowData
from adamw_scale.training.data.files import MAX_VALUES, data_library, reading, refusal, refuse_size
from adamw_scale.training.data.splitting import Index, Split, shuffled

SIZE = 32
MAX_IMAGES = 1 << 15
SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff"}
AT_A_TIME = 256  # images


def digits(image_size: int | None, label_noise: float) -> RowData:
    """scikit-learn's handwritten digits: 1,797 images of 8 x 8 pixels in 10 classes, which need no download.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    sets = data_library("sklearn.datasets", "scikit-learn", "the default data of images and tables")
    images, targets = sets.load_digits(return_X_y=True)
    path = Path("scikit-learn's digits")
    inputs, split = images.reshape(-1, 8, 8, 1), Split.of(path, len(images))
    return row_data(path, image_inputs(path, inputs, split, image_size), targets, split, label_noise)


def image_folder(path: Path, image_size: int, label_noise: float) -> RowData:
    """A folder of which every sub-folder is a class and holds its images.

    Raises:
        MissingExtraError: Pillow is not installed.
        SpecError: fewer than two classes, too few images, or one that cannot be read.
    """
    image = data_library("PIL.Image", "pillow", "reading images")
    with reading(path, "folder"):
        folders = sorted(each for each in path.iterdir() if each.is_dir() and not each.name.startswith("."))
        files = [(file, label) for label, folder in enumerate(folders) for file in _images(folder)]
    if not files:
        raise refusal(
            path, "no images in its sub-folders: pass a folder with one sub-folder a class, such as cats/1.png"
        )
    used = shuffled(len(files))[: min(MAX_IMAGES, MAX_VALUES // (3 * image_size**2))]
    split = Split.of(path, len(used))
    pixels = np.empty((len(used), image_size, image_size, 3), np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", image.DecompressionBombWarning)
        for row, i in zip(pixels, used, strict=True):
            row[:] = _pixels(image, files[i][0], image_size)
    targets = np.array([files[i][1] for i in used])
    return row_data(path, image_inputs(path, pixels, split, None), targets, split, label_noise)


def image_inputs(path: Path, images: Array, split: Split, image_size: int | None) -> tuple[Array, Array]:
    """Images (n, height, width, channels), split, resized if a size is given, and standardised channel by channel."""
    height, width, channels = images.shape[1:]
    shape = (channels, image_size or height, image_size or width)
    refuse_size(path, (len(split.training) + len(split.held_out)) * int(np.prod(shape)), MAX_VALUES, "values")
    with np.errstate(all="ignore"):
        training, held_out = (_resized(images, index, shape) for index in split)
        mean = training.mean(axis=(0, 2, 3), keepdims=True, dtype=np.float64)
        blocks = (training[i : i + AT_A_TIME] - mean for i in range(0, len(training), AT_A_TIME))
        deviation = np.sqrt(sum((block**2).sum(axis=(0, 2, 3)) for block in blocks) * channels / training.size)
    deviation = np.where(deviation == 0, 1.0, deviation).reshape(mean.shape)
    if not np.isfinite(mean + deviation).all() or not np.isfinite(held_out).all():
        raise refusal(path, "pixels that are infinite or no number: remove those images")
    for part in (training, held_out):
        part -= mean.astype(np.float32)
        part /= deviation.astype(np.float32)
    return training, held_out


def _resized(images: Array, index: Index, shape: tuple[int, int, int]) -> Array:
    out = np.empty((len(index), *shape), np.float32)
    for start in range(0, len(index), AT_A_TIME):
        some = torch.from_numpy(images[index[start : start + AT_A_TIME]].astype(np.float32)).permute(0, 3, 1, 2)
        if some.shape[2:] != shape[1:]:
            some = F.interpolate(some, shape[1:], mode="bilinear", antialias=True)
        out[start : start + AT_A_TIME] = some.numpy()
    return out


def _images(folder: Path) -> list[Path]:
    return sorted(
        file
        for file in folder.iterdir()
        if file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and file.is_file()
    )


def _pixels(image: Any, file: Path, size: int) -> Array:
    with reading(file, "image"), image.open(file) as opened:
        if opened.mode.startswith(("I", "F")):
            raise refusal(file, "more than 8 bits a channel: save it with 8")
        opened.draft("RGB", (size, size))
        return np.asarray(opened.convert("RGB").resize((size, size), image.Resampling.BILINEAR))
