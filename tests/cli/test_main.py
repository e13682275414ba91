"""The command line: translation of options, both outputs, and one line for everything that is wrong."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Command

RUN = ["--params", "1.3B", "--tokens", "26B", "--batch-size", "0.5M", "--lr", "3e-4", "--schedule", "linear"]


def test_plan_runs_nothing(adamw_scale: Command, tmp_path: Path) -> None:
    """What a calibration would do, without a folder."""
    outcome = adamw_scale("calibrate", "--plan", "--json")
    document = json.loads(outcome.out)
    assert document["steps_per_probe"] == 2048
    assert document["probes_likely"] == 19
    assert "19 probes likely" in adamw_scale("calibrate", "--plan").out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [[], ["recommend"], ["ladder"], ["emit"], ["calibrate"]], ids=str)
def test_help_teaches(adamw_scale: Command, command: list[str]) -> None:
    """Every command explains itself with an example and its options."""
    outcome = adamw_scale(*command, "--help")
    assert outcome.code == 0
    assert "Usage: adamw-scale" in outcome.out
    if command:
        assert f"adamw-scale {command[0]} --" in outcome.out or f"adamw-scale {command[0]} " in outcome.out


def test_version(adamw_scale: Command) -> None:
    """The version, and nothing else."""
    assert adamw_scale("--version").out.startswith("adamw-scale 0.")


BAD = [
    (["recomend"], "did you mean 'recommend'? known: audit, calibrate, convert, emit, explain, ladder, list, "),
    (["recommend", *RUN, "--nonsense", "3"], "--nonsense"),
    (["recommend", *RUN, "--schedule", "cosin"], "did you mean 'cosine'"),
    (["recommend", *RUN, "--rule", "power-line"], "did you mean 'power-lines'"),
    (["recommend", *RUN, "--lr", "0"], "--lr"),
    (["recommend", *RUN, "--lr", "-1"], "--lr"),
    (["recommend", *RUN, "--lr", "nan"], "peak_lr"),
    (["recommend", *RUN, "--lr", "1e999"], "peak_lr"),
    (["recommend", *RUN, "--lr", ""], "peak_lr"),
    (["recommend", *RUN, "--lr", "0,0003"], "peak_lr"),
    (["recommend", *RUN, "--lr", "1" * 50_000 + "x"], "peak_lr"),
    (["recommend", *RUN, "--lr", "1e308"], "--lr"),
    (["recommend", *RUN, "--lr", "1e-300"], "--lr"),
    (["recommend", *RUN, "--weight-decay", "1e-300"], "--weight-decay 0"),
    (["recommend", *RUN, "--rule", ""], "unknown rule"),
    (["recommend", *RUN, "--rule", "x" * 100_000], "unknown rule"),
    (["recommend", *RUN, "--calibration", ""], "calibration"),
    (["recommend", *RUN, "--calibration", "/dev/zero"], "/dev/zero"),
    (["recommend", *RUN, "--width", "64", "--base-width", "32"], "--base-width has no effect in standard"),
    (["recommend", "--run", ""], "empty path"),
    (["recommend", "--run", "/dev/zero"], "not a file"),
    (["recommend", *RUN, "--params", "0"], "--params"),
    (["recommend", *RUN, "--batch-size", "27B"], "larger than the data set"),
    (["recommend", *RUN, "--samples", "3M"], "mixed"),
    (["recommend", *RUN, "--unit", "samples"], "mixed"),
    (["recommend", *RUN, "--dataset-size", "3M"], "keep one"),
    (["recommend", *RUN, "--warmup", "52000"], "does not fit"),
    (["recommend", *RUN, "--warmup", "100%"], "does not fit"),
    (["recommend", *RUN, "--warmup", "often"], "warmup"),
    (["recommend", *RUN, "--weight-decay", "3333.4"], "--weight-decay = 3333.4 at --lr 0.0003"),
    (["recommend", *RUN, "--decay-fraction", "0.1"], "wsd"),
    (["recommend", *RUN, "--betas", "0.9"], "--betas"),
    (["recommend", *RUN, "--parametrization", "mup"], "--base-width"),
    (["recommend"], "pass --tokens or --samples, --batch-size"),
    (["recommend", "--tokens", "1B", "--epochs", "9", "--batch-size", "1M", "--lr", "1e-3"], "--params"),
    (["recommend", "--tokens", "1B", "--batch-size", "1M", "--lr", "1e-3"], "--params"),
    (["recommend", "--run", "no-such-file.toml"], "no-such-file.toml"),
    (["recommend", "--run", "/"], "/"),
    (["recommend", "--calibration", "no-such-file.json"], "no-such-file.json"),
    (["emit", "pytoch", *RUN], "did you mean 'pytorch'"),
    (["emit", *RUN], "FRAMEWORK"),
    (["calibrate"], "--out"),
    (["calibrate", "--out", "x", "--device", "gpu"], "device"),
    (["calibrate", "--out", "x", "--task", "char-ml"], "did you mean 'char-lm'"),
    (["calibrate", "--out", "x", "--seeds", "1"], "--seeds"),
    (["calibrate", "--out", "x", "--engine", "process"], "did you mean 'processes'"),
    (["calibrate", "--out", "x", "--jobs", "0"], "--jobs"),
    (["calibrate", "--out", "x", "--data", "no-such-file.txt"], "no-such-file.txt"),
    (["calibrate", "--out", "pyproject.toml"], "is a file"),
    (["calibrate", "--out", "/proc/no/such"], "/proc/no/such"),
    (["calibrate", "--plan", "--depth", "1e6"], "--depth"),
    (["calibrate", "--plan", "--width", "1e9"], "--width"),
    (["calibrate", "--plan", "--epochs", "1e8"], "--epochs"),
    (["calibrate", "--plan", "--convention", "independent"], "convention"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "says"), BAD, ids=lambda value: " ".join(value[-3:]) if isinstance(value, list) else ""
)
def test_bad_input_is_one_line_and_status_2(adamw_scale: Command, arguments: list[str], says: str) -> None:
    """Nothing on stdout, one line on stderr that names what is wrong."""
    outcome = adamw_scale(*arguments)
    assert outcome.code == 2
    assert outcome.out == ""
    assert outcome.err.count("\n") == 1
    assert says in outcome.err


def test_a_reader_that_leaves_is_no_traceback() -> None:
    """`adamw-scale ... | head -0` is quiet."""
    outcome = subprocess.run(
        ["bash", "-c", f"'{sys.executable}' -m adamw_scale recommend {' '.join(RUN)} | true"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert outcome.stderr == ""
