"""How a command line ends when somebody is impatient or stops reading: its status, and in no more than one line."""

import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import Command

RUN = "--params 1.3B --tokens 26B --batch-size 0.5M --lr 3e-4 --schedule linear"
BASIN = "2 + math.log(1000 * {lr} * {weight_decay}) ** 2 / 100"
SWEEP = "--samples 1e5 --batch-size 100 --epochs 4 --lr 1e-3 --seeds 2 --engine serial"
CALIBRATE = f"""calibrate --out out {SWEEP} --command "python -c 'import math; print(dict(loss={BASIN}))'" """
PRINTS = """python -S -c 'import os; os.write(2, b"said")'"""
START = [sys.executable, "-m", "adamw_scale"]


@pytest.mark.parametrize(
    "arguments", [f"recommend {RUN}", f"recommend {RUN} --explain", "--help", "recommend --help", "list --json"]
)
def test_a_reader_that_leaves_is_no_problem(arguments: str) -> None:
    """`adamw-scale ... | true` is quiet, and 1 would mean that the answer is a problem."""
    line = f"{shlex.join(START)} {arguments} | true; exit ${{PIPESTATUS[0]}}"
    outcome = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert (outcome.returncode, outcome.stderr) == (0, "")


def test_a_calibration_that_nobody_reads_is_whole(tmp_path: Path) -> None:
    """`adamw-scale calibrate ... | true` leaves its report as ever."""
    line = f"{shlex.join(START)} {CALIBRATE} --json | true; exit ${{PIPESTATUS[0]}}"
    outcome = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert outcome.returncode == 0, outcome.stderr
    assert json.loads((tmp_path / "out" / "calibration.json").read_text())["optima"][0]["status"] == "located"
    assert (tmp_path / "out" / "report.html").exists()


@pytest.mark.parametrize("streams", ["2>/dev/full", "2> >(true)", "<&- 2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("arguments", [f"emit pytorch {RUN}", "calibrate --plan", f"audit -- {PRINTS}"])
def test_nobody_need_read_what_is_not_the_answer(streams: str, arguments: str) -> None:
    """A stream that is closed, full or gone is none of the answer's affair, nor is another file in its place."""
    line = f"{shlex.join(START)} {arguments} {streams}"
    outcome = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    expected = 0 if "audit" not in arguments else 1 if "full" in streams or "true" in streams else 2
    assert outcome.returncode == expected
    assert outcome.stderr == ""
    assert bool(outcome.stdout) == (expected == 0 and ">&- " not in streams)


@pytest.mark.skipif(sys.platform == "win32", reason="has no SIGHUP")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_terminal_that_is_closed_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    """Neither a folder in /tmp nor what was watched."""
    watched = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    process = subprocess.Popen(
        [*START, "audit", "--", sys.executable, "-S", "-c", watched],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    pid = int(process.stderr.readline())
    assert list(tmp_path.iterdir())
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err.count("\n")) == (128 + number, "", 1)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_at_any_moment_is_its_status(number: signal.Signals) -> None:
    """From the first import on; the interpreter's own start, before ours, is Python's."""
    ended = set()
    for moment in range(8):
        process = subprocess.Popen([*START, "emit", "pytorch"], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        time.sleep(0.12 + 0.06 * moment)
        process.send_signal(number)
        _, err = process.communicate(timeout=20)
        if b"runpy" in err:
            continue
        ended.add(process.returncode)
        assert b"Traceback" not in err, err
        assert err.count(b"\n") <= 1
    assert ended <= {128 + number, -number}  # -15: before there is a handler
    assert 128 + number in ended


@pytest.mark.parametrize(
    ("term", "no_color", "colour"), [("xterm", "", True), ("dumb", "", False), ("xterm", "1", False)]
)
@pytest.mark.parametrize("arguments", [f"recommend {RUN}", "recommend --help"])
def test_colour_is_for_terminals_that_show_it(term: str, no_color: str, colour: bool, arguments: str) -> None:
    """Neither TERM=dumb nor NO_COLOR gets any."""
    ours, theirs = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    environment |= {"TERM": term, "COLUMNS": "100"} | ({"NO_COLOR": no_color} if no_color else {})
    process = subprocess.Popen([*START, *shlex.split(arguments)], stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    shown = b""
    try:
        while chunk := os.read(ours, 1 << 16):
            shown += chunk
    except OSError:  # the other end is closed
        pass
    finally:
        os.close(ours)
        process.wait()
    assert (b"\x1b[1m" in shown or b"\x1b[1;3" in shown) == colour or (colour is False and "help" in arguments)
    assert colour or not re.search(rb"\x1b\[(\d;)?3\d", shown)


HOSTILE = "a\x1b[2Jb\n::error::c\rd\x9b31me\u202ef"


def test_what_is_printed_is_printable(adamw_scale: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of files, metrics, columns and codes that come from outside show themselves, and do nothing else."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / HOSTILE
    folder.mkdir()
    runs = tmp_path / "runs.csv"
    metric = HOSTILE.replace("\n", " ").replace("\r", " ")
    runs.write_text("weight_decay,loss\n" + "".join(f"{0.01 * 2**x},{2 + (x - 3) ** 2 / 10}\n" for x in range(7)))
    said = [adamw_scale("probe", "import", "runs.csv", "--out", HOSTILE, *SWEEP.split()[:8], "--source", metric)]
    said += [adamw_scale("calibrate", "--out", HOSTILE, "--fit-only")]
    said += [adamw_scale("report", HOSTILE), adamw_scale("probe", "export", "--out", HOSTILE, "--csv", "-", "--json")]
    said += [adamw_scale("probe", "export", "--out", HOSTILE, "--csv", "-")]
    said += [adamw_scale("probe", "export", "--out", HOSTILE, "--csv", HOSTILE + ".csv")]
    said += [adamw_scale("recommend", "--calibration", f"{HOSTILE}/calibration.json")]
    said += [adamw_scale("recommend", "--calibration", HOSTILE + "no"), adamw_scale("report", HOSTILE + "no")]
    said += [adamw_scale("audit", HOSTILE), adamw_scale("recommend", "--run", HOSTILE), adamw_scale(HOSTILE)]
    for each in said:
        assert_harmless(each.out + each.err)
    assert [each.code for each in said] == [0, 0, 0, 2, 0, 0, 0] + [2] * 5, said


def test_a_recommendation_from_elsewhere_is_printed_printably(adamw_scale: Command) -> None:
    """`emit` takes one from stdin, with cautions whose text anybody may have written."""
    document = json.loads(adamw_scale("recommend", *RUN.split(), "--json").out)
    document["cautions"] = [{"code": HOSTILE, "about": "run", "message": HOSTILE, "fix": HOSTILE}]
    for json_too in ([], ["--json"]):
        outcome = subprocess.run(
            [*START, "emit", "pytorch", *json_too],
            input=json.dumps(document),
            capture_output=True,
            text=True,
            check=False,
        )
        assert outcome.returncode in (0, 2), outcome.stderr
        assert_harmless(outcome.stdout + outcome.stderr)


def assert_harmless(text: str) -> None:
    """Nothing that a terminal or a CI obeys."""
    assert text.replace("\n", "").replace("\t", "").isprintable(), text
    assert not any(line.startswith("::error") for line in text.split("\n")), text


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("engine", ["serial", "processes"])
def test_a_second_interrupt_ends_at_once(tmp_path: Path, engine: str) -> None:
    """Whatever the command ignores, in whatever session it is."""
    stubborn = (
        """sh -c 'trap "" TERM INT HUP; setsid sleep 606 & echo $$ > pid; while :; do sleep 606; done' {weight_decay}"""
    )
    run = ["--samples", "1e5", "--batch-size", "100", "--epochs", "4", "--lr", "1e-3", "--engine", engine]
    process = subprocess.Popen(
        [*START, "calibrate", "--out", "out", *run, "--command", stubborn],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    time.sleep(1)
    assert process.poll() is None  # the command has its time to end in order
    process.send_signal(signal.SIGINT)
    started = time.monotonic()
    _, err = process.communicate(timeout=30)
    assert time.monotonic() - started < 8
    assert process.returncode == 130
    assert err.splitlines()[-1].startswith("adamw-scale: interrupted")
    deadline = time.monotonic() + 20
    while running_in(tmp_path):
        assert time.monotonic() < deadline, running_in(tmp_path)
        time.sleep(0.05)


def running_in(folder: Path) -> list[str]:
    """Processes whose working directory is a folder."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if Path(os.readlink(place / "cwd")) == folder:
                found.append(place.name)
    return found
