"""Many calibrations of commands that fork, daemonise and ignore signals, killed at random: nothing is left of any."""

import os
import random
import shlex
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from adamw_scale.calibration import CALIBRATION_FILE

CALIBRATIONS = int(os.environ.get("ADAMW_SCALE_SOAK", "20"))
RUN = ["--samples", "1e5", "--batch-size", "100", "--epochs", "4", "--lr", "1e-3", "--seeds", "2", "--jobs", "2"]
NAME = "ADAMW_SCALE_SOAK_MARK"  # in the environment of every process of one calibration
TRAIN = """
import json, math, os, signal, subprocess, sys, time
kind, wd, seed = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
sleep = [sys.executable, "-S", "-c", "import time; time.sleep(600)"]
if kind == "forks":
    for _ in range(3):
        subprocess.Popen(sleep)
if kind == "daemonises":
    subprocess.Popen(["sh", "-c", "(setsid setsid sleep 600 &)"])
if kind == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
if kind == "talks":
    for _ in range(200):
        print("x" * 10_000)
time.sleep(0.1)
print(json.dumps({"loss": 2 + math.log(wd) ** 2 / 100 + seed / 10}))
"""
KINDS = ("forks", "daemonises", "stubborn", "talks")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def marked(mark: str) -> list[int]:
    """Processes of a calibration that are still there."""
    found = []
    for place in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError, IndexError):
            is_dead = (place.parent / "stat").read_text().rpartition(")")[2].split()[0] in "ZX"
            if f"{NAME}={mark}\0".encode() in place.read_bytes() and not is_dead:
                found.append(int(place.parent.name))
    return found


@pytest.mark.slow
def test_nothing_is_lost_and_nothing_left(tmp_path: Path) -> None:
    """No process, no descriptor, no temporary file; and results are, byte for byte, those of undisturbed ones."""
    script, chance, expected = tmp_path / "train.py", random.Random(0), {}
    script.write_text(TRAIN)
    descriptors = len(os.listdir("/proc/self/fd"))

    def start(out: Path, kind: str, mark: str) -> subprocess.Popen[bytes]:
        train = f"{shlex.quote(sys.executable)} -S {shlex.quote(str(script))} {kind} {{weight_decay}} {{seed}}"
        (tmp_path / f"tmp-{mark}").mkdir(exist_ok=True)
        environment = {**os.environ, NAME: mark, "TMPDIR": str(tmp_path / f"tmp-{mark}")}
        arguments = [sys.executable, "-m", "adamw_scale", "calibrate", "--out", str(out), *RUN, "--command", train]
        nowhere = subprocess.DEVNULL
        return subprocess.Popen(arguments, env=environment, stdout=nowhere, stderr=nowhere, cwd=tmp_path)

    for number in range(CALIBRATIONS):
        kind, out = KINDS[number % len(KINDS)], tmp_path / f"out-{number}"
        if kind not in expected:
            assert start(tmp_path / kind, kind, kind).wait() == 0
            expected[kind] = (tmp_path / kind / CALIBRATION_FILE).read_bytes()
        for _ in range(chance.randrange(1, 4)):
            process = start(out, kind, str(number))
            time.sleep(chance.uniform(0.2, 6))
            process.send_signal(chance.choice((signal.SIGINT, signal.SIGTERM, signal.SIGKILL, signal.SIGHUP)))
            if chance.random() < 0.3:
                process.send_signal(signal.SIGINT)
            process.wait(60)
        assert start(out, kind, str(number)).wait() == 0
        assert (out / CALIBRATION_FILE).read_bytes() == expected[kind]
        deadline = time.monotonic() + 30
        while left := marked(str(number)):
            assert time.monotonic() < deadline, (kind, left)
            time.sleep(0.1)
        assert list((tmp_path / f"tmp-{number}").iterdir()) == []
        assert list(out.rglob(".*")) == []
    assert len(os.listdir("/proc/self/fd")) == descriptors
