"""Calibrations that are killed, preempted and crowded: what was stored is kept, and the answer stays the same."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from adamw_scale.calibration import CALIBRATION_FILE, PROBES_FILE

KILLS = int(os.environ.get("ADAMW_SCALE_KILLS", "4"))  # 50 take six minutes
PROBES = ["--task", "byte-mlp", "--dataset-size", "4096", "--epochs", "12", "--seeds", "2", "--jobs", "2"]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def command(out: Path, *more: str) -> list[str]:
    """A calibration of some twenty seconds."""
    return [sys.executable, "-m", "adamw_scale", "calibrate", "--out", str(out), *PROBES, *more]


def keys(out: Path) -> list[str]:
    """Keys of all whole lines, in order."""
    file = out / PROBES_FILE
    lines = file.read_bytes().split(b"\n") if file.exists() else []
    return [json.loads(line)["key"] for line in lines if line.endswith(b"}")]


def descendants(parent: int) -> set[int]:
    """Processes started by a process, and by those."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue
    found = {parent}
    while more := {child for child, its in parents.items() if its in found} - found:
        found |= more
    return found - {parent}


def wait_until_gone(processes: set[int]) -> None:
    """Every process ends soon."""
    deadline = time.monotonic() + 120
    while left := {process for process in processes if Path(f"/proc/{process}").exists()}:
        assert time.monotonic() < deadline, f"{left} outlived their parent"
        time.sleep(0.05)


@pytest.mark.slow
def test_any_number_of_sigkills(tmp_path: Path) -> None:
    """Killed at random moments, parent or worker: same bytes as undisturbed, nothing stored runs twice, no orphans."""
    whole = subprocess.run(command(tmp_path / "whole"), capture_output=True, text=True, check=False)
    assert whole.returncode in (0, 1), whole.stderr
    expected = (tmp_path / "whole" / CALIBRATION_FILE).read_bytes()
    moments, out = random.Random(0), tmp_path / "killed"
    finished = 0
    for _ in range(KILLS):
        before = keys(out)
        process = subprocess.Popen(command(out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(moments.uniform(0.0, 9.0))
        children = descendants(process.pid)
        victim = moments.choice(sorted(children)) if children and moments.random() < 0.3 else process.pid
        with_children = children | {process.pid}
        with suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
        if victim != process.pid:  # a worker died: the calibration goes on with another
            time.sleep(moments.uniform(0.0, 3.0))
            with_children |= descendants(process.pid)
            process.kill()
        process.wait()
        wait_until_gone(with_children - {process.pid})
        assert keys(out)[: len(before)] == before
        if len(keys(out)) == len(keys(tmp_path / "whole")):
            finished += 1
            (tmp_path / f"finished {finished}").mkdir()
            out.rename(tmp_path / f"finished {finished}" / "killed")
    final = subprocess.run(command(out), capture_output=True, text=True, check=False)
    assert final.returncode == whole.returncode, final.stderr
    assert (out / CALIBRATION_FILE).read_bytes() == expected
    assert len(keys(out)) == len(set(keys(out)))
    assert set(keys(out)) == set(keys(tmp_path / "whole"))


NOHUP = ["bash", "-c", 'trap "" INT HUP; exec "$@"', "bash"]  # as a shell starts `nohup command &`


def test_what_tests_start_can_be_interrupted() -> None:
    """A child has its signals as in a foreground shell, so that no test waits for one that ignores them."""
    code = "import signal; print(signal.getsignal(signal.SIGINT).__name__, signal.getsignal(signal.SIGHUP).name)"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert child.stdout.split() == ["default_int_handler", "SIG_DFL"]


def test_so_it_can_where_pytest_itself_ignores_signals() -> None:
    """The test before this one passes under nohup and in the background, too."""
    inner = f"{__file__}::{test_what_tests_start_can_be_interrupted.__name__}"
    pytest_ = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", inner]
    outcome = subprocess.run([*NOHUP, *pytest_], capture_output=True, text=True, check=False)
    assert "1 passed" in outcome.stdout, outcome.stdout


@pytest.mark.parametrize(
    ("shell", "ignored", "number"),
    [([], [], signal.SIGINT), (NOHUP, [signal.SIGINT, signal.SIGHUP], signal.SIGTERM)],
    ids=["Ctrl-C", "SIGTERM under nohup"],
)
def test_preempted_it_ends_in_order(
    tmp_path: Path, shell: list[str], ignored: list[signal.Signals], number: signal.Signals
) -> None:
    """Ctrl-C, and SIGTERM as of a batch system, end with their status and one line; what a shell ignores is ignored."""
    process = subprocess.Popen([*shell, *command(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 240
    while not keys(tmp_path):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    children = descendants(process.pid)
    for each in (*ignored, number):
        assert process.poll() is None
        process.send_signal(each)
    out, err = process.communicate(timeout=120)
    word, status = {signal.SIGINT: ("interrupted", 130), signal.SIGTERM: ("terminated", 143)}[number]
    assert process.returncode == status
    assert out == ""
    assert f"{word}; finished probes are kept" in err.splitlines()[-1]
    assert "Traceback" not in err
    wait_until_gone(children)


def test_a_folder_is_calibrated_by_one_at_a_time(tmp_path: Path) -> None:
    """The second says who holds the folder, or waits with --wait and trains nothing again."""
    first = subprocess.Popen(command(tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 240
    while not keys(tmp_path):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    first.send_signal(
        signal.SIGSTOP
    )  # so that it holds the folder until it is told to go on, however slow the others are
    try:
        refused = subprocess.run(command(tmp_path), capture_output=True, text=True, check=False)
        second = subprocess.Popen(
            command(tmp_path, "--wait"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        assert second.stderr is not None
        told = second.stderr.readline()
    finally:
        first.send_signal(signal.SIGCONT)
    assert refused.returncode == 2
    assert f"is being calibrated by process {first.pid}" in refused.stderr
    assert "--wait" in refused.stderr
    assert f"process {first.pid}" in told
    assert "waiting for it to end" in told
    first.wait()
    second.communicate()
    assert second.returncode == first.returncode
    assert len(keys(tmp_path)) == len(set(keys(tmp_path)))


def test_a_disk_that_is_full_is_one_line(tmp_path: Path) -> None:
    """A file-size limit stands for a full disk: exit 2, one line, and what was stored can be read and gone on from."""
    limited = ["bash", "-c", 'trap "" XFSZ; ulimit -f 4; exec "$@"', "bash", *command(tmp_path)]
    outcome = subprocess.run(limited, capture_output=True, text=True, check=False)
    assert outcome.returncode == 2, outcome.stderr
    assert "Pass a folder that can be written, on a disk with space" in outcome.stderr.splitlines()[-1]
    assert "Traceback" not in outcome.stderr
    export = [sys.executable, "-m", "adamw_scale", "probe", "export", "--out", str(tmp_path), "--csv", "-"]
    read = subprocess.run(export, capture_output=True, text=True, check=True)
    assert len(read.stdout.splitlines()) == 1 + len(keys(tmp_path))
