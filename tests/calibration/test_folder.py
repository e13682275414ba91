"""What becomes of a calibration's folder: who may read it, and what happens when somebody else changes it."""

import fcntl
import json
import os
import shutil
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Command, PlantedEngine

from adamw_scale.calibration import CALIBRATION_FILE, COMMAND_FILE, PROBES_FILE, Watcher, calibrate
from adamw_scale.calibration.fitting import fit_stored
from adamw_scale.errors import CalibrationError
from adamw_scale.probe import store
from adamw_scale.probe.exchange import import_csv
from adamw_scale.spec.measurement import ProbeResult
from adamw_scale.training.commands import process
from adamw_scale.training.commands.process import Log

RUN: dict[str, Any] = {"unit": "samples", "dataset_size": 1e5, "batch_size": 100, "epochs": 4, "peak_lr": 1e-3}


def imported(folder: Path) -> Path:
    """A folder with seven probes."""
    folder.mkdir(exist_ok=True)
    rows = [f"{0.01 * 2**x},{2 + (x - 3) ** 2 / 10}" for x in range(7)]
    (folder / "runs.csv").write_text("\n".join(["weight_decay,loss", *rows]))
    import_csv(folder / "runs.csv", folder, RUN)
    return folder


def cut(folder: Path) -> None:
    """`: > probes.jsonl`."""
    os.truncate(folder / PROBES_FILE, 0)


def replaced(folder: Path) -> None:
    """As an editor saves a file."""
    copy = folder / "copy"
    shutil.copy(folder / PROBES_FILE, copy)
    copy.rename(folder / PROBES_FILE)


def rewritten(folder: Path) -> None:
    """The same file, as long as before, of other content."""
    file = folder / PROBES_FILE
    file.write_bytes(b" " * file.stat().st_size)


@pytest.mark.parametrize(
    "harm",
    [cut, replaced, rewritten, lambda folder: (folder / PROBES_FILE).unlink(), shutil.rmtree],
    ids=lambda f: f.__name__,
)
@pytest.mark.parametrize("after", [2, 4])
def test_probes_that_are_taken_away_are_missed(
    tmp_path: Path, planted: type[PlantedEngine], harm: Callable[[Path], object], after: int
) -> None:
    """At the next write, in one line; no calibration is written without its probes."""
    out, heard = tmp_path / "out", []

    def result(result: ProbeResult) -> None:
        heard.append(result)
        if len(heard) == after:
            harm(out)

    with pytest.raises(CalibrationError, match=r"was (cut or rewritten|deleted or replaced) while it was in use"):
        calibrate(out, "byte-mlp", engine=planted, watcher=Watcher(result=result))
    assert not (out / CALIBRATION_FILE).exists()
    assert len(heard) < after + 4  # a cohort is written at once


def test_probes_that_are_taken_away_at_the_end_are_missed(tmp_path: Path, planted: type[PlantedEngine]) -> None:
    """After the last probe, before the calibration is written."""
    out, counted = tmp_path / "whole", []
    calibrate(out, "byte-mlp", engine=planted, watcher=Watcher(result=counted.append))
    other, heard = tmp_path / "other", []

    def result(result: ProbeResult) -> None:
        heard.append(result)
        if len(heard) == len(counted):
            cut(other)

    with pytest.raises(CalibrationError, match="was cut or rewritten"):
        calibrate(other, "byte-mlp", engine=planted, watcher=Watcher(result=result))
    assert not (other / CALIBRATION_FILE).exists()


@pytest.fixture(params=[0o077, 0o002], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """What a user or a cluster has set."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_who_may_read_is_the_users_choice_but_for_secrets(adamw_scale: Command, tmp_path: Path, umask: int) -> None:
    """Files follow the umask; a command line, its log and its template may hold a token."""
    (tmp_path / "template.toml").write_text("wd = {weight_decay}\n")
    template = str(tmp_path / "template.toml")
    out = tmp_path / "out"
    run = ["--samples", "1e5", "--batch-size", "100", "--epochs", "4", "--lr", "1e-3", "--engine", "serial"]
    command = r"""sh -c 'echo "{{\"loss\": 1}}"; : {template} token'"""
    outcome = adamw_scale("calibrate", "--out", str(out), *run, "--template", template, "--command", command)
    assert outcome.code == 1, outcome.err  # flat
    modes = {str(file.relative_to(out)): stat.S_IMODE(file.stat().st_mode) for file in out.rglob("*") if file.is_file()}
    secret = {name for name in modes if name == COMMAND_FILE or name.startswith(("logs/", "templates/"))}
    assert {COMMAND_FILE} < secret
    assert {modes[name] for name in secret} == {0o600}
    assert {modes[name] for name in modes.keys() - secret - {"calibrating.lock"}} == {0o666 & ~umask}
    assert {CALIBRATION_FILE, PROBES_FILE} <= modes.keys() - secret


def test_the_calibration_of_a_newer_version_is_not_overwritten(tmp_path: Path, planted: type[PlantedEngine]) -> None:
    """As newer lines of probes are not: by a fit of what is there, and before anything is trained."""
    file = imported(tmp_path) / CALIBRATION_FILE
    file.write_text('{"schema": "adamw-scale/calibration/3", "optima": {}}')
    for attempt in (
        lambda: fit_stored(tmp_path),
        lambda: calibrate(tmp_path, "byte-mlp", engine=planted),
    ):
        with pytest.raises(CalibrationError, match="written by a newer version"):
            attempt()
    assert json.loads(file.read_text())["schema"].endswith("/3")
    assert planted.trained == []
    for old in ("adamw-scale/calibration/1", "adamw-scale/calibration/2", "else"):
        file.write_text(f'{{"schema": "{old}"}}')
        fit_stored(tmp_path)


def test_a_binary_command_is_one_line(adamw_scale: Command, tmp_path: Path) -> None:
    """Whatever else may have happened to the folder."""
    fit_stored(imported(tmp_path))
    for content in (b"\xff\xfe\x00", b"adamw-scale\0", b"x" * (1 << 21)):
        (tmp_path / COMMAND_FILE).write_bytes(content)
        outcome = adamw_scale("report", str(tmp_path))
        assert (outcome.code, outcome.out) == (2, "")
        assert outcome.err.count("\n") == 1
        assert COMMAND_FILE in outcome.err


@pytest.mark.parametrize("name", [PROBES_FILE, CALIBRATION_FILE, COMMAND_FILE, "plan.json"])
def test_an_export_does_not_write_over_what_it_exports(adamw_scale: Command, tmp_path: Path, name: str) -> None:
    """However the file is named."""
    fit_stored(imported(tmp_path))
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    (tmp_path / "sub").mkdir()
    for csv in (tmp_path / name, tmp_path / "sub" / ".." / name):
        outcome = adamw_scale("probe", "export", "--out", str(tmp_path), "--csv", str(csv))
        assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert before == {file: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()}
    assert adamw_scale("probe", "export", "--out", str(tmp_path), "--csv", str(tmp_path / "sub" / name)).code == 0


def test_a_pipe_in_place_of_a_calibration_is_not_waited_for(tmp_path: Path, planted: type[PlantedEngine]) -> None:
    """It is replaced, as any file that is no calibration."""
    os.mkfifo(tmp_path / CALIBRATION_FILE)
    calibrate(tmp_path, "byte-mlp", engine=planted)
    assert json.loads((tmp_path / CALIBRATION_FILE).read_bytes())["optima"]


def test_a_report_says_what_it_waits_for(adamw_scale: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where another process holds the probes for long."""
    monkeypatch.setattr(store, "UNSAID_SECONDS", 0.1)
    fit_stored(imported(tmp_path))
    with (tmp_path / PROBES_FILE).open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        threading.Timer(0.6, lambda: fcntl.flock(held, fcntl.LOCK_UN)).start()
        started = time.monotonic()
        outcome = adamw_scale("report", str(tmp_path))
    assert time.monotonic() - started > 0.5
    assert outcome.code == 0
    assert "probes.jsonl is locked by another process" in outcome.err


def test_a_log_is_bounded_and_keeps_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a command prints; what was left out is said."""
    monkeypatch.setattr(process, "LARGEST_LOG", 20_000)
    monkeypatch.setattr(process, "KEPT_OF_LOG", 5_000)
    path = tmp_path / "log"
    with Log(path, ["train", "it"]) as log:
        for number in range(10_000):
            log.write(f"line {number}\n".encode())
            assert path.stat().st_size < 20_100
        log.close_with("done")
    lines = path.read_text().splitlines()
    assert lines[0] == "$ train it"
    assert lines[-2:] == ["line 9999", "adamw-scale: done"]
    (note,) = [line for line in lines if "left out" in line]
    left_out = int(note.split()[1])
    printed = sum(len(f"line {number}\n") for number in range(10_000))
    kept = sum(len(line) + 1 for line in lines[2:-1])
    assert printed - kept == left_out
