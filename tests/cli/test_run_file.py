"""Run files: what is in them is read as data, or refused in one line."""

import json
from pathlib import Path

import pytest
from conftest import Command

FILES = {
    "binary.toml": (b"\x00\x01\x02", "binary"),
    "latin.toml": ("# é".encode("latin-1"), "UTF-8"),
    "torn.json": (b'{"lr": ', "not valid JSON"),
    "torn.toml": (b"lr = ", "not valid TOML"),
    "torn.yaml": (b"lr: [", "not valid YAML"),
    "list.json": (b"[1, 2]", "not a mapping"),
    "empty.yaml": (b"", "not a mapping"),
    "table.toml": (b"[run]\nlr = 1\n", "top level"),
    "python.yaml": (b"lr: !!python/object/apply:os.system ['true']", "not valid YAML"),
    "bomb.yaml": (b"a: &a [1,1]\nb: &b [*a,*a]\nlr: [*b,*b]\n", "unknown field of a run"),
    "deep.json": (b"[" * 50_000, "not valid JSON"),
    "dots.toml": (b"a." * 10_000 + b"a = 1", "not valid TOML"),
    "twice.json": (b'{"lr": 1e-3, "lr": 1e-4}', "given twice"),
    "twice.yaml": (b"lr: 1e-3\nlr: 1e-4\n", "given twice"),
    "spellings.toml": (b"lr = 1e-3\npeak_lr = 1e-4\n", "keep one"),
    "warmups.toml": (b"warmup = 0.1\nwarmup_fraction = 0.2\n", "keep one"),
    "base60.yaml": (b"tokens: 26B\nlr: 1e-3\nbatch_size: 1:30\n", "'1:30' is not a number"),
    "deep.yaml": (b"[" * 10_000, "YAML"),
    "deep.toml": (b"a = " + b"[" * 10_000, "not valid TOML"),
    "unknown.toml": (b"learning_rat = 3\n", "did you mean 'learning_rate'"),
    "nested.json": (b'{"peak_lr": [1, [2]]}', "peak_lr"),
}


@pytest.mark.parametrize("name", FILES)
def test_bad_run_files_are_one_line(adamw_scale: Command, tmp_path: Path, name: str) -> None:
    """Whatever is in the file, it is read as data and refused in one line."""
    content, says = FILES[name]
    file = tmp_path / name
    file.write_bytes(content)
    outcome = adamw_scale("recommend", "--run", str(file))
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert says in outcome.err
    assert len(outcome.err) < 900


def test_leading_zeros_are_decimal(adamw_scale: Command, tmp_path: Path) -> None:
    """YAML 1.1 would read 0500000 as octal."""
    file = tmp_path / "run.yaml"
    file.write_text("tokens: 26B\nbatch_size: 0500000\nlr: 3e-4\nparams: 1.3B\nbetas: [0.9, 0.99]\n")
    run = json.loads(adamw_scale("recommend", "--run", str(file), "--json").out)["run"]
    assert (run["batch_size"], run["betas"]) == (500_000, [0.9, 0.99])


def test_a_huge_file_is_not_read(adamw_scale: Command, tmp_path: Path) -> None:
    """100 MB are no run."""
    file = tmp_path / "run.json"
    with file.open("wb") as sparse:
        sparse.truncate(100_000_000)
    assert "larger than 64 KiB" in adamw_scale("recommend", "--run", str(file)).err
