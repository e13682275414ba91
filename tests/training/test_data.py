"""Real files of every kind are read, split without a leak, cut in nested sizes, and refused in one line."""

import hashlib
import json
import random
import re
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from adamw_scale.errors import AdamWScaleError, MissingExtraError, ProbeError, SpecError
from adamw_scale.training.data import files, images, splitting, text
from adamw_scale.training.data.columns import standardised, with_noise
from adamw_scale.training.data.dataset import Array, RowData, TokenData
from adamw_scale.training.data.sources import load_rows, load_tokens
from adamw_scale.training.data.splitting import CHUNK, Chunks, Split, all_blocks, split_spans

WORDS = ["weight", "decay", "shrinks", "what", "the", "gradient", "does", "not", "need"]


def prose(documents: int, seed: int = 0) -> list[str]:
    """Documents of one to sixty words; each says its number in every word, so that a leak is seen."""
    draw = random.Random(seed)
    return [" ".join(f"{draw.choice(WORDS)}{i:04}" for _ in range(draw.randint(1, 60))) for i in range(documents)]


def numbers_in(tokens: Array) -> set[int]:
    """The documents that a stretch of prose is of, told by whole words."""
    return {int(number) for number in re.findall(rf"\b(?:{'|'.join(WORDS)})(\d{{4}})\b", bytes(tokens).decode())}


def save_png(file: Path, colour: tuple[int, int, int], size: tuple[int, int] = (40, 30)) -> None:
    """A noisy picture of one colour."""
    noise = np.random.default_rng(sum(file.name.encode())).integers(0, 40, (size[1], size[0], 3))
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((noise + np.array(colour)).astype(np.uint8)).save(file)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A CSV with numbers, missing numbers, words and classes."""
    draw = random.Random(0)
    rows = [
        f"{draw.gauss(1e9, 3)},{'' if i % 10 == 0 else draw.random()},{draw.choice(['red', 'green'])},{i % 3}"
        for i in range(400)
    ]
    file = tmp_path / "table.csv"
    file.write_text("\n".join(["time,share,colour,kind", *rows]))
    return file


# --- splitting ---------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 5 * CHUNK), min_size=1, max_size=40))
def test_no_chunk_is_both_trained_on_and_held_out(lengths: list[int]) -> None:
    """Chunks of training and held-out spans are disjoint, inside their spans, and all that fit are there."""
    ends = np.cumsum(lengths).tolist()
    spans = list(zip([0, *ends], ends, strict=False))
    tokens = np.arange(ends[-1])
    training, held_out = split_spans(tokens, spans)
    seen, kept = training[:], held_out[:]
    assert not set(seen) & set(kept)
    assert len(set(seen)) == len(seen) == len(training)
    assert len(seen) + len(kept) == sum(length // CHUNK * CHUNK for length in lengths)
    owner = np.searchsorted(ends, kept, side="right")
    assert (owner % 8 == 7).all()


@given(st.integers(0, 20), st.data())
def test_a_slice_of_chunks_is_a_slice_of_all_of_them(chunks: int, data: st.DataObject) -> None:
    """Whatever part is read, it is that part of the whole, so smaller data sets are prefixes of larger ones."""
    stream = Chunks.of(np.arange(chunks * CHUNK, dtype=">u4"), [(0, chunks * CHUNK)])
    start, stop = (data.draw(st.integers(-3, chunks * CHUNK + 3)) for _ in range(2))
    whole = stream[:]
    assert whole.dtype == np.dtype(np.uint32)
    assert np.array_equal(stream[start:stop], whole[start:stop])
    assert np.array_equal(stream.in_order()[:], np.arange(chunks * CHUNK))


@given(st.integers(1, 200_000))
def test_blocks_cover_a_stream(size: int) -> None:
    """A stream is cut into blocks without gaps."""
    blocks = all_blocks(np.broadcast_to(np.uint8(0), size))
    assert [start for start, _ in blocks] == [0, *(stop for _, stop in blocks[:-1])]
    assert blocks[-1][1] == size


@given(st.integers(splitting.MIN_ROWS, 3000))
def test_rows_are_split_once_and_for_all(rows: int) -> None:
    """Every row is trained on or held out, an eighth of them the latter; the same each time."""
    split = Split.of(Path("rows"), rows)
    assert sorted([*split.training, *split.held_out]) == list(range(rows))
    assert len(split.held_out) == rows // 8
    assert all(np.array_equal(one, other) for one, other in zip(split, Split.of(Path("rows"), rows), strict=True))


@given(st.integers(1, 2000), st.integers(2, 10), st.floats(0, 1))
def test_label_noise_replaces_a_fraction(rows: int, classes: int, fraction: float) -> None:
    """As many labels change as the fraction says, to any class; none for 0; more noise changes a superset."""
    labels = np.arange(rows) % classes
    noisy = with_noise(labels, classes, fraction)
    assert set(noisy) <= set(range(classes))
    assert np.array_equal(with_noise(labels, classes, 0.0), labels)
    changed, all_changed = noisy != labels, with_noise(labels, classes, 1.0) != labels
    assert not (changed & ~all_changed).any()
    assert abs(changed.mean() - fraction * (1 - 1 / classes)) < 5 * (fraction / rows) ** 0.5 + 1e-9


def test_held_out_rows_are_bounded() -> None:
    """A large table is not evaluated on an eighth of it."""
    assert len(Split.of(Path("rows"), 100_000).held_out) == splitting.HELD_OUT_ROWS


@given(st.lists(st.floats(allow_nan=True, allow_infinity=False, width=32), min_size=8, max_size=60))
def test_standardised_columns_are_finite(values: list[float]) -> None:
    """Whatever finite column: mean 0 and deviation 1 over training rows that have a value, 0 where it is missing."""
    column, training = np.array(values), np.arange(len(values) - 2)
    out = np.zeros(0)
    try:
        out = standardised(Path("x"), "column", column, training)
    except SpecError as error:
        assert "infinite" in str(error)  # noqa: PT017
        return
    assert np.isfinite(out).all()
    assert (out[np.isnan(column)] == 0).all()
    known = out[training][~np.isnan(column[training])].astype(float)
    if known.any():
        assert abs(known.mean()) < 1e-3
        assert known.std() == pytest.approx(1, abs=1e-3)


# --- text --------------------------------------------------------------------------------------------------------


def test_the_default_is_the_standard_library() -> None:
    """Held-out and training bytes come from different files, and are the same bytes each time."""
    data = load_tokens()
    assert (data.vocabulary, data.held_out_size) == (256, 48 * 1024)
    assert data.size > 1_000_000
    assert data.training[:10].dtype == np.uint8
    held_out = {bytes(data.held_out[i : i + CHUNK]) for i in range(0, data.held_out_size, CHUNK)}
    training = data.training[:].tobytes()
    assert not held_out & {training[i : i + CHUNK] for i in range(0, len(training), CHUNK)}
    text.standard_library.cache_clear()
    assert load_tokens().sha256(1e6) == data.sha256(1e6)


def test_a_python_without_sources(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Some Pythons come without them; then a file must be passed."""
    monkeypatch.setattr(text.sysconfig, "get_path", lambda _: str(tmp_path))
    text.standard_library.cache_clear()
    with pytest.raises(ProbeError, match="pass a text file with --data"):
        load_tokens()


def test_a_text_file(tmp_path: Path) -> None:
    """A text is cut into blocks, every eighth held out; next to nothing is lost, and the bytes stay the same."""
    file = tmp_path / "text.txt"
    file.write_bytes(b"".join(f"line {i} of a text\n".encode() for i in range(10_000)))
    data = load_tokens(str(file))
    assert (data.name, data.size, data.held_out_size) == ("text.txt", 174_079, 24_575)
    assert hashlib.sha256(data.training[:].tobytes()).hexdigest().startswith("733d753236928843")
    assert hashlib.sha256(data.held_out.tobytes()).hexdigest().startswith("e1d91d86eaa73512")


def test_text_in_any_encoding(tmp_path: Path) -> None:
    """Bytes are bytes."""
    file = tmp_path / "latin.txt"
    file.write_bytes("Gewichtsabklingen, über und über. ".encode("latin-1") * 3000)
    assert load_tokens(str(file)).vocabulary == 256


def jsonl(folder: Path, documents: list[str]) -> tuple[Path, str]:
    """JSON lines, with empty ones between them."""
    file = folder / "text.jsonl"
    file.write_text("\n\n".join(json.dumps({"id": i, "body": each}) for i, each in enumerate(documents)))
    return file, "body"


def parquet(folder: Path, documents: list[str]) -> tuple[Path, str]:
    """A parquet column with nulls after the last text."""
    file = folder / "text.parquet"
    pq.write_table(pa.table({"id": range(len(documents) + 2), "story": [*documents, None, None]}), file)
    return file, "story"


def folder(root: Path, documents: list[str]) -> tuple[Path, None]:
    """Files in sub-folders, in order of their names, with some that are not text."""
    for i, document in enumerate(documents):
        file = root / "corpus" / f"{i // 100:03}" / f"{i:06}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(document)
    (root / "corpus" / "000" / "picture.png").write_bytes(b"\x89PNG\0\0")
    (root / "corpus" / ".git").mkdir()
    (root / "corpus" / ".git" / "HEAD").write_text("secret7 " * 10_000)
    return root / "corpus", None


@pytest.mark.parametrize("write", [jsonl, parquet, folder])
def test_short_documents_are_joined_within_their_split(tmp_path: Path, write: Callable[..., Any]) -> None:
    """Documents shorter than a chunk are all read; every eighth is held out and no word of it trained on."""
    documents = prose(600)
    path, field = write(tmp_path, documents)
    data = load_tokens(str(path), field=field)
    total = sum(len(document) + 1 for document in documents)
    assert total - 2 * CHUNK <= data.size + data.held_out_size + 2 <= total
    training, held_out = numbers_in(data.training[:]), numbers_in(data.held_out)
    assert {i % 8 for i in held_out} == {7}
    assert len({i for i in training if i % 8 == 7}) <= 2  # two halves of cut numbers may meet
    assert len(held_out) >= 60
    assert len(training) >= 500


def test_a_few_long_documents(tmp_path: Path) -> None:
    """Few records have every eighth block held out, or nothing would be left to hold out."""
    file = tmp_path / "text.jsonl"
    file.write_text("\n".join(json.dumps({"text": "\n".join(prose(400, seed))}) for seed in range(3)))
    assert load_tokens(str(file)).held_out_size > 4096


def test_a_lone_surrogate_is_bytes_too(tmp_path: Path) -> None:
    """JSON can say what UTF-8 cannot."""
    file = tmp_path / "text.jsonl"
    file.write_text("\n".join(json.dumps({"text": document + "\ud800"}) for document in prose(600)))
    assert load_tokens(str(file)).size > 10_000


# --- tokens ------------------------------------------------------------------------------------------------------


def test_nanogpt_with_its_validation_file(tmp_path: Path) -> None:
    """train.bin is all trained on, val.bin held out; a folder with them is found; the pickle is never opened."""
    draw = np.random.default_rng(0)
    train, val = draw.integers(0, 50_000, 100 * CHUNK), draw.integers(50_000, 50_257, 20 * CHUNK)
    train.astype("<u2").tofile(tmp_path / "train.bin")
    val.astype("<u2").tofile(tmp_path / "val.bin")
    (tmp_path / "meta.pkl").write_bytes(b"not even a pickle")
    data = load_tokens(str(tmp_path))
    assert data.sha256(50_000) == load_tokens(str(tmp_path / "train.bin")).sha256(50_000)
    assert np.array_equal(np.sort(data.training[:]), np.sort(train))
    assert data.held_out.min() >= 50_000
    assert data.vocabulary == max(train.max(), val.max()) + 1
    assert data.training[:5].dtype == np.dtype(np.uint16)


@pytest.mark.parametrize("kind", ["<u2", ">u4", "<i8"])
def test_arrays_of_tokens(tmp_path: Path, kind: str) -> None:
    """A 1-D array of any whole numbers, alone, has every eighth block held out."""
    np.save(tmp_path / "corpus.npy", np.arange(200 * CHUNK).astype(kind) % 60_000)
    data = load_tokens(str(tmp_path / "corpus.npy"))
    assert data.vocabulary == 60_000
    assert data.size + data.held_out_size <= 200 * CHUNK
    assert isinstance(data.training, Chunks)
    assert isinstance(data.training.tokens.base, np.memmap)


@pytest.mark.parametrize(("magic", "version", "kind"), [(20240520, 1, "<u2"), (20240801, 7, "<u4")])
def test_llm_c_headers_are_no_tokens(tmp_path: Path, magic: int, version: int, kind: str) -> None:
    """The header of llm.c says how wide tokens are, and is skipped."""
    tokens = np.arange(64 * CHUNK) % 1000
    header = np.zeros(256, "<i4")
    header[:3] = magic, version, len(tokens)
    (tmp_path / "fineweb.bin").write_bytes(header.tobytes() + tokens.astype(kind).tobytes())
    data = load_tokens(str(tmp_path / "fineweb.bin"))
    assert data.vocabulary == 1000
    assert np.array_equal(np.diff(data.training[: CHUNK - 24].astype(int)) % 1000, np.ones(CHUNK - 25))


def test_a_stream_beyond_the_limit_is_sampled_evenly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of a longer file, blocks at even distances are used, no more than the limit in all."""
    monkeypatch.setattr(splitting, "MAX_TOKENS", 512 * CHUNK)
    monkeypatch.setattr(splitting, "SAMPLED_BLOCKS", 64)
    np.save(tmp_path / "long.npy", np.arange(1000 * CHUNK, dtype=np.uint32))
    data = load_tokens(str(tmp_path / "long.npy"))
    assert data.size + 1 == 56 * 8 * CHUNK
    assert np.histogram(data.training[:], bins=5, range=(0, 1000 * CHUNK))[0].min() > 75 * CHUNK


def test_large_files_stay_on_disk(tmp_path: Path) -> None:
    """A file of 256 MiB is opened, hashed and sliced in a small part of its size."""
    file = tmp_path / "huge.bin"
    with file.open("wb") as content:
        content.truncate(1 << 28)
    tracemalloc.start()
    try:
        data = load_tokens(str(file))
        data.sha256(1 << 20)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert data.size > 115_000_000
    assert peak < 48 << 20


# --- tables ------------------------------------------------------------------------------------------------------


def test_a_table(table: Path) -> None:
    """Numbers are standardised by the training rows, words become one input each, the last column is the target."""
    data = load_rows(str(table))
    inputs, targets = data.training
    assert (data.classes, data.size, data.held_out_size, data.name) == (3, 350, 50, "table.csv")
    assert inputs.shape == (350, 4)
    assert inputs[:, 0].mean() == pytest.approx(0, abs=1e-4)
    assert inputs[:, 0].std() == pytest.approx(1, abs=1e-3)
    assert (inputs[:, 2:].sum(1) == 1).all()
    assert 20 < (inputs[:, 1] == 0).sum() < 45
    assert sorted(set(targets)) == [0, 1, 2]


def test_the_target_is_chosen(table: Path) -> None:
    """Words are classes, floats are regressed on in units of their deviation."""
    words, numbers = load_rows(str(table), target="colour"), load_rows(str(table), target="time")
    assert (words.classes, numbers.classes) == (2, None)
    assert words.training[0].shape[1] == 3
    assert numbers.training[1].std() == pytest.approx(1, abs=1e-3)
    assert numbers.training[1].dtype == np.float32


def test_parquet_and_tsv_hold_the_same_table(table: Path, tmp_path: Path) -> None:
    """The same columns give the same examples, whatever they are written in; pandas' index is no column."""
    import pyarrow.csv as csv

    read = csv.read_csv(table)
    dictionary = read.set_column(2, "colour", read.column("colour").combine_chunks().dictionary_encode())
    pq.write_table(dictionary.append_column("__index_level_0__", pa.array(range(400))), tmp_path / "table.parquet")
    (tmp_path / "table.tsv").write_text(table.read_text().replace(",", "\t"))
    hashes = {load_rows(str(tmp_path / name)).sha256(100) for name in ("table.csv", "table.tsv", "table.parquet")}
    assert len(hashes) == 1


def test_every_plain_type_of_parquet(tmp_path: Path) -> None:
    """Booleans, small numbers, decimals, bytes, nulls: all become inputs."""
    n = 80
    columns = {
        "flag": pa.array([i % 2 == 0 for i in range(n)]),
        "small": pa.array([i % 7 for i in range(n)], pa.int8()),
        "half": pa.array(np.arange(n, dtype=np.float16)),
        "price": pa.array([i * 10 for i in range(n)]).cast(pa.decimal128(24, 2)),
        "code": pa.array([b"\xff" if i % 2 else b"\x00" for i in range(n)]),
        "nothing": pa.nulls(n),
        "word": pa.array(["a" if i % 2 else None for i in range(n)]),
        "target": pa.array([i % 2 == 0 for i in range(n)]),
    }
    pq.write_table(pa.table(columns), tmp_path / "all.parquet")
    data = load_rows(str(tmp_path / "all.parquet"))
    assert data.training[0].shape == (70, 8)
    assert data.classes == 2


# --- arrays ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [("x", "y"), ("X", "y"), ("images", "labels"), ("zz", "aa")])
def test_pairs_of_arrays(tmp_path: Path, names: tuple[str, str]) -> None:
    """Inputs are named x or X, or are the array with more dimensions of the only two."""
    draw = np.random.default_rng(0)
    np.savez(tmp_path / "d.npz", **{names[0]: draw.normal(5, 3, (200, 6)), names[1]: (np.arange(200) % 4)[:, None]})
    data = load_rows(str(tmp_path / "d.npz"))
    assert (data.classes, data.training[0].shape) == (4, (175, 6))
    assert np.abs(data.training[0].mean(0)).max() < 1e-5


def test_arrays_that_say_what_is_held_out(tmp_path: Path) -> None:
    """x_test and y_test are held out, and all of x_train is trained on."""
    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 256, (120, 12, 12)).astype(np.uint8)
    labels = np.arange(120) % 10
    np.savez(tmp_path / "m.npz", x_train=pixels[:100], y_train=labels[:100], x_test=pixels[100:], y_test=labels[100:])
    data = load_rows(str(tmp_path / "m.npz"))
    assert data.training[0].shape == (100, 1, 12, 12)
    assert data.held_out_size == 20
    assert sorted(data.held_out[1]) == sorted(labels[100:])


@pytest.mark.parametrize("shape", [(96, 12, 12, 3), (96, 3, 12, 12)])
def test_arrays_of_colour_images(tmp_path: Path, shape: tuple[int, ...]) -> None:
    """Channels come last or first, and leave first; they are standardised one by one, and resized on demand."""
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    np.savez(tmp_path / "i.npz", x=pixels, y=np.arange(96) % 2)
    data = load_rows(str(tmp_path / "i.npz"))
    assert data.training[0].shape == (84, 3, 12, 12)
    assert np.abs(data.training[0].mean((0, 2, 3))).max() < 1e-4
    assert np.abs(data.training[0].std((0, 2, 3)) - 1).max() < 1e-4
    assert load_rows(str(tmp_path / "i.npz"), image_size="8").training[0].shape == (84, 3, 8, 8)


@pytest.mark.parametrize(("kind", "classes"), [(float, None), (int, 5)])
def test_a_matrix_with_the_target_last(tmp_path: Path, kind: type, classes: int | None) -> None:
    """Floats with many values are regressed on, whole numbers are classes."""
    matrix = np.random.default_rng(0).normal(0, 100, (200, 5)).astype(kind)
    matrix[:, -1] = np.arange(200) % 5 if kind is int else matrix[:, 0] * 2
    np.save(tmp_path / "m.npy", matrix)
    data = load_rows(str(tmp_path / "m.npy"))
    assert (data.classes, data.training[0].shape) == (classes, (175, 4))


# --- images ------------------------------------------------------------------------------------------------------


def test_the_default_is_digits() -> None:
    """1,797 digits, noise on training labels only, about a fifth of them less those that hit their own class."""
    clean, noisy = load_rows(), load_rows(label_noise="20%")
    assert (clean.classes, clean.size, clean.held_out_size) == (10, 1573, 224)
    assert clean.training[0].shape[1:] == (1, 8, 8)
    assert np.array_equal(clean.held_out[1], noisy.held_out[1])
    assert np.array_equal(clean.training[0], noisy.training[0])
    assert 0.15 < (clean.training[1] != noisy.training[1]).mean() < 0.21


def test_a_folder_of_images(tmp_path: Path) -> None:
    """Sub-folders are classes, files of any mode and size become square colour images."""
    for i in range(40):
        save_png(tmp_path / "d" / "cats" / f"{i}.png", (120, 0, 0))
        save_png(tmp_path / "d" / "dogs" / f"{i}.jpg", (0, 120, 0), (33, 57))
    Image.new("L", (8, 8), 7).save(tmp_path / "d" / "cats" / "grey.png")
    Image.new("RGBA", (8, 8)).save(tmp_path / "d" / "cats" / "clear.PNG")
    Image.new("P", (8, 8)).save(tmp_path / "d" / "cats" / "palette.gif")
    (tmp_path / "d" / "cats" / "Thumbs.db").write_bytes(b"nothing")
    (tmp_path / "d" / ".cache").mkdir()
    data = load_rows(str(tmp_path / "d"))
    inputs, targets = data.training
    assert (data.classes, data.size + data.held_out_size, inputs.shape[1:]) == (2, 83, (3, 32, 32))
    assert np.abs(inputs.mean((0, 2, 3))).max() < 1e-4
    assert inputs[targets == 1, 1].mean() > inputs[targets == 0, 1].mean() + 1
    assert load_rows(str(tmp_path / "d"), image_size=16).held_out[0].shape == (10, 3, 16, 16)


def test_of_many_images_a_part_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit a random part is used, of every class."""
    monkeypatch.setattr(images, "MAX_IMAGES", 64)
    for i in range(50):
        for name in "abc":
            save_png(tmp_path / name / f"{i}.png", (i, i, i), (8, 8))
    data = load_rows(str(tmp_path))
    assert (data.size + data.held_out_size, data.classes) == (64, 3)


# --- nesting and identity ----------------------------------------------------------------------------------------


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sizes=st.tuples(st.integers(1, 349), st.integers(1, 349)))
def test_smaller_data_sets_are_prefixes(table: Path, sizes: tuple[int, int]) -> None:
    """The first rows of two sizes are the same rows with the same features, and so are their held-out rows."""
    small, large = sorted(sizes)
    one, other = (load_rows(str(table), label_noise=0.3) for _ in range(2))
    for part in (0, 1):
        assert np.array_equal(one.training[part][:small], other.training[part][:large][:small])
        assert np.array_equal(one.held_out[part], other.held_out[part])
    assert one.sha256(small) == other.sha256(small)
    assert small == large or one.sha256(small) != other.sha256(large)


# --- refusals ----------------------------------------------------------------------------------------------------


def png(folder: Path) -> Path:
    """A folder of images of which one is cut off."""
    for i in range(70):
        save_png(folder / "p" / "ab"[i % 2] / f"{i}.png", (i, i, i), (8, 8))
    broken = folder / "p" / "a" / "0.png"
    broken.write_bytes(broken.read_bytes()[:90])
    return folder / "p"


def npz(**arrays: Any) -> Callable[[Path], Path]:
    """An .npz with such arrays."""

    def write(folder: Path) -> Path:
        np.savez(folder / "d.npz", **arrays)
        return folder / "d.npz"

    return write


def npy(array: Array) -> Callable[[Path], Path]:
    """A .npy of such an array."""

    def write(folder: Path) -> Path:
        np.save(folder / "d.npy", array)
        return folder / "d.npy"

    return write


def content(name: str, data: str | bytes) -> Callable[[Path], Path]:
    """A file with that in it."""

    def write(folder: Path) -> Path:
        (folder / name).write_bytes(data.encode() if isinstance(data, str) else data)
        return folder / name

    return write


def lines(first: str, line: str, count: int = 80, name: str = "t.csv") -> Callable[[Path], Path]:
    """A table whose lines are alike, but for {i}."""
    return content(name, "\n".join([first, *(line.replace("{i}", str(i)) for i in range(count))]))


def columns(**arrays: Any) -> Callable[[Path], Path]:
    """A parquet file with such columns."""

    def write(folder: Path) -> Path:
        pq.write_table(pa.table(arrays), folder / "t.parquet")
        return folder / "t.parquet"

    return write


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (lambda folder: folder / "nothing.txt", "no such file or folder. Pass a text file"),
        (lambda folder: folder / ("x" * 5000), "no such file"),
        (content("t.txt", b""), "empty"),
        (content("t.txt", b"x" * 9000), "to hold out"),
        (content("t.zip", b"PK\3\4\0\0" * 9000), "binary"),
        (lambda folder: folder, "no text files"),
        (content("t.jsonl", b""), "empty"),
        (content("t.jsonl", '{"text": "a"}\n{"text": '), "line 2 is not JSON"),
        (content("t.jsonl", b'{"text": "\xff\xfe"}'), "line 1 is not JSON"),
        (content("t.jsonl", "[" * 100_000), "line 1 is not JSON"),
        (content("t.jsonl", '{"body": "a"}'), r"no text in field 'text' \(it has body\)"),
        (content("t.jsonl", '{"text": 3}'), "no text in field"),
        (content("t.jsonl", "[1, 2]"), "it has list"),
        (content("t.jsonl", '{"text": "a"}'), "to hold out"),
        (content("t.parquet", b"PAR1 and no more" * 100), "not a readable parquet file"),
        (content("t.parquet", b""), "not a readable parquet file"),
        (columns(body=["a"]), r"it has body \(string\)"),
        (columns(text=[1]), r"it has text \(int64\)"),
        (columns(text=["a"]), "to hold out"),
        (content("t.bin", b""), "empty"),
        (content("t.bin", b"abc"), "whole tokens of 16 bits"),
        (content("t.bin", np.array([20240520, 1, 9], "<i4").tobytes() * 200), "whole tokens of 16 bits"),
        (content("t.bin", b"ab" * 100), "to hold out"),
        (npy(np.zeros(100_000)), "no stream of tokens"),
        (npy(np.zeros((300, 300), int)), "no stream of tokens"),
        (npy(np.full(100_000, -1)), "token -1"),
        (npy(np.full(100_000, 2**62)), "is in no vocabulary"),
        (npy(np.array([{}], object)), "not a readable file of tokens"),
        (content("t.npy", b"\x93NUMPY\1\0\x10\0{'descr': 'x'   }"), "not a readable file of tokens"),
    ],
)
def test_tokens_that_cannot_be_read(tmp_path: Path, write: Callable[[Path], Path], says: str) -> None:
    """Each is refused in one line that names the file."""
    path = write(tmp_path)
    with pytest.raises(SpecError, match=says) as error:
        load_tokens(str(path))
    assert str(path)[:100] in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (lambda folder: folder / "nothing.csv", "no such file or folder. Pass .npz"),
        (content("t.txt", b"words"), "'?.txt is no kind of examples: pass .npz"),
        (content("t", b"words"), "without an extension is no kind"),
        (content("t.csv", b""), "empty"),
        (lines("a,b", "{i},{i}.5", 10), "10 examples are no data set"),
        (lines("a,b", "1,2\n1,2,3"), "Expected 2 columns, got 3"),
        (lines("1,2", "1,2"), "first line is numbers"),
        (lines("a;b", "1;2"), "one column only"),
        (lines("a,a", "1,2"), "two columns are named 'a'"),
        (lines("name,b", "Ms {i},2"), "more than 64 different words in name"),
        (lines("when,b", "2024-01-01,2"), "column 'when' is of date32"),
        (lines("a,b", "{i},{i}"), "80 classes among 80 targets"),
        (lines("a,b", "{i},yes"), "1 classes among"),
        (lines("a,b", "{i},", 80), "targets are missing"),
        (lines("a,b", "{i},inf"), "targets are missing or infinite"),
        (lines("a,b", "{i},0.5"), "single value"),
        (lines("a,b", "1e{i},{i}.5"), None),
        (lines("a,b", "inf,{i}.5"), "column 'a' has values that are infinite"),
        (lines("a,b", "1e30{i},{i}.5"), "column 'a' has values that are infinite"),
        (content("t.csv", b"\xff\xfe\x00a,b\n1,2\n"), "t.csv: not a readable"),
        (content("t.parquet", b"PAR1" + b"x" * 100 + b"PAR1"), "not a readable .parquet table"),
        (columns(a=[[1]] * 80, b=[1] * 80), "column 'a' is of list"),
        (content("d.npz", b"PK\3\4 and no more" * 20), "not a readable .npz"),
        (content("d.npz", b""), "not a readable .npz"),
        (npz(x=np.zeros((80, 2)), y=np.array([{}] * 80, object)), "not a readable .npz file of numbers .Object arrays"),
        (npz(a=np.zeros(80), b=np.zeros(80), c=np.zeros(80)), "arrays a, b, c: name them x and y"),
        (npz(a=np.zeros(80), b=np.zeros(80)), "could each be the inputs"),
        (npz(x=np.zeros((80, 2)), y=np.zeros(79)), "with targets of shape"),
        (npz(x=np.zeros((80, 2)), y=np.zeros((80, 10))), "one number or word an example"),
        (npz(x=np.zeros(80), y=np.zeros(80)), r"save numbers \(n, features\)"),
        (npz(x=np.zeros((80, 2), complex), y=np.zeros(80)), "save numbers"),
        (npz(x=np.zeros((80, 9, 9, 9)), y=np.arange(80) % 2), "more than 4 channels"),
        (npz(x=np.full((80, 9, 9), np.nan), y=np.arange(80) % 2), "pixels that are infinite"),
        (npz(x=np.full((80, 9, 9), 1e300), y=np.arange(80) % 2), "pixels that are infinite"),
        (npy(np.zeros(100)), "no table: save a matrix"),
        (npy(np.zeros((100, 4), object)), "not a readable .npy file of numbers"),
        (lambda folder: folder, "no images in its sub-folders"),
        (png, "0.png: .*image"),
    ],
)
def test_examples_that_cannot_be_read(tmp_path: Path, write: Callable[[Path], Path], says: str | None) -> None:
    """Each is refused in one line that names the file."""
    path = write(tmp_path)
    if says is None:
        assert load_rows(str(path)).classes is None
        return
    with pytest.raises(SpecError, match=says) as error:
        load_rows(str(path))
    assert str(path)[:100] in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("load", "arguments", "says"),
    [
        (load_tokens, {"field": "body"}, "field = body names"),
        (load_rows, {"target": "kind"}, "target = kind names"),
        (load_rows, {"label_noise": "2"}, "label_noise=2"),
        (load_rows, {"label_noise": "much"}, "label_noise=much: pass a fraction from 0 to 1"),
        (load_rows, {"image_size": "7.5"}, "image_size=7.5"),
        (load_rows, {"image_size": "4096"}, "from 1 to 1024"),
        (load_rows, {"image_size": "1000"}, "that are read"),
    ],
)
def test_arguments_that_do_not_apply(load: Callable[..., Any], arguments: dict[str, Any], says: str) -> None:
    """An argument that would be ignored is refused."""
    with pytest.raises(SpecError, match=says):
        load(**arguments)


def test_arguments_that_do_not_apply_to_a_file(table: Path) -> None:
    """Tables have no image size and no missing target, numbers no label noise."""
    for arguments, says in (
        ({"image_size": 8}, "is a table"),
        ({"target": "age"}, "no column 'age': pass one of time, share, colour, kind"),
        ({"target": "time", "label_noise": 0.2}, "drop label_noise"),
    ):
        with pytest.raises(SpecError, match=says):
            load_rows(str(table), **arguments)


def test_too_much_is_refused(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What would not fit in memory is not read."""
    huge = tmp_path / "huge.txt"
    with huge.open("wb") as file:
        file.truncate((1 << 30) + 1)
    for load, path in ((load_tokens, huge), (load_rows, huge.rename(tmp_path / "huge.csv"))):
        with pytest.raises(SpecError, match=r"1\.074B that are read|no such"):
            load(str(path))
    monkeypatch.setattr("adamw_scale.training.data.tables.MAX_VALUES", 1000)
    with pytest.raises(SpecError, match="inputs are more than"):
        load_rows(str(table))
    np.savez(tmp_path / "zeros.npz", x=np.zeros((64, 100)), y=np.zeros(64))
    monkeypatch.setattr("adamw_scale.training.data.arrays.MAX_ARRAY_BYTES", 1000)
    with pytest.raises(SpecError, match="bytes of arrays are more"):
        load_rows(str(tmp_path / "zeros.npz"))


def test_a_decompression_bomb_is_refused(tmp_path: Path) -> None:
    """An image far larger than photographs is named, not decoded."""
    for i in range(70):
        (tmp_path / "ab"[i % 2]).mkdir(exist_ok=True)
        Image.new("1", (10_000, 10_000) if i == 5 else (8, 8)).save(tmp_path / "ab"[i % 2] / f"{i}.png")
    with pytest.raises(SpecError, match=r"5\.png: not a readable image .*decompression bomb"):
        load_rows(str(tmp_path))


def test_deep_colours_are_refused(tmp_path: Path) -> None:
    """16 bits a channel would be cut to white."""
    for i in range(70):
        (tmp_path / "ab"[i % 2]).mkdir(exist_ok=True)
        Image.fromarray(np.full((8, 8), 60_000, np.uint16)).save(tmp_path / "ab"[i % 2] / f"{i}.png")
    with pytest.raises(SpecError, match="8 bits a channel"):
        load_rows(str(tmp_path))


@pytest.mark.parametrize(
    ("module", "load", "name"),
    [
        ("pyarrow.parquet", load_tokens, "t.parquet"),
        ("pyarrow", load_rows, "t.csv"),
        ("PIL.Image", load_rows, "."),
        ("sklearn.datasets", load_rows, None),
    ],
)
def test_a_missing_library_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, load: Callable[..., Any], name: str | None
) -> None:
    """Without the extra, the message is the command that installs it."""
    monkeypatch.setitem(sys.modules, module, None)
    path = None
    if name is not None:
        path = tmp_path / name
        if name != ".":
            path.write_text("a,b")
    with pytest.raises(MissingExtraError, match=r"pip install 'adamw-scale\[data\]'"):
        load(None if path is None else str(path))


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(["t.csv", "t.tsv", "t.parquet", "t.jsonl", "t.npz", "t.npy", "t.bin", "t.txt"]),
    damage=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=6),
    cut=st.floats(0, 1),
)
def test_damaged_files_never_end_in_a_traceback(
    table: Path, tmp_path: Path, kind: str, damage: list[tuple[float, int]], cut: float
) -> None:
    """Any damage to any file is read or refused by an error of this package."""
    file = tmp_path / kind
    whole = bytearray(_whole(table, file))
    whole = whole[: max(1, int(cut * len(whole)))] if cut < 0.7 else whole
    for where, value in damage:
        whole[int(where * len(whole))] = value
    file.write_bytes(whole)
    for load in (load_tokens, load_rows):
        data: TokenData | RowData | None
        try:
            data = load(str(file))
        except AdamWScaleError as error:
            assert "\n" not in str(error)  # noqa: PT017
        else:
            assert data.size > 0


def _whole(table: Path, file: Path) -> bytes:
    """A good file of that kind."""
    if file.suffix == ".parquet":
        import pyarrow.csv as csv

        pq.write_table(csv.read_csv(table), file)
    elif file.suffix == ".npz":
        np.savez_compressed(file, x=np.arange(800.0).reshape(100, 8), y=np.arange(100) % 3)
    elif file.suffix == ".npy":
        np.save(file, np.arange(800).reshape(100, 8) % 3)
    elif file.suffix == ".jsonl":
        file.write_text("\n".join(json.dumps({"text": each}) for each in prose(300)))
    else:
        return table.read_bytes().replace(b",", b"\t" if file.suffix == ".tsv" else b",")
    return file.read_bytes()


def test_a_folder_with_too_many_files_is_refused_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--data /` is a slip, which is said before all of it was walked."""
    monkeypatch.setattr(files, "MOST_FILES", 50)
    for number in range(60):
        (tmp_path / f"{number}.txt").write_text("text " * 400)
    with pytest.raises(SpecError, match="more than 50 files: pass a smaller folder"):
        text.text_folder(tmp_path)
    monkeypatch.setattr(files, "MOST_FILES", 60)
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "more.txt").write_text("text")
    assert len(text.text_folder(tmp_path).training) > 0
