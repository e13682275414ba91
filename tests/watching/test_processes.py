"""How a watched command starts, ends and is ended: nothing of it is left, and its results are as without us."""

import ast
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from command_bench import eventually, is_running
from conftest import Command
from watching_bench import PYTHON, SCRIPTS, Watch, watching

from adamw_scale import hook
from adamw_scale.watching import command

PLAIN = str(SCRIPTS / "plain.py")
HOOK = Path(hook.__file__).parent
TINY = (
    "import torch\nw = torch.nn.Linear(8, 8)\no = torch.optim.AdamW(w.parameters(), lr=1e-3, weight_decay=0.1)\n"
    "def train(steps):\n    for _ in range(steps):\n        w(torch.ones(8)).sum().backward()\n        o.step()\n"
)


@pytest.fixture
def watch(adamw_scale: Command, tmp_path: Path) -> Watch:
    """Audit a script."""
    return watching(adamw_scale, tmp_path)


def script(folder: Path, text: str) -> str:
    """A script of this text."""
    path = folder / "script.py"
    path.write_text(text)
    return str(path)


def left_over() -> list[str]:
    """Folders of records that were not taken away, and processes that know of one."""
    own = os.getpid()
    found = []
    for place in Path("/proc").glob("[0-9]*/environ"):
        try:
            if b"ADAMW_SCALE_WATCH=" in place.read_bytes() and int(place.parent.name) != own:
                found.append(place.parent.name)
        except OSError:
            continue
    return [pid for pid in found if is_running(int(pid))]


@pytest.mark.parametrize("optimizer", ["adamw", "fused"])
def test_weights_are_the_same_bit_for_bit(watch: Watch, tmp_path: Path, optimizer: str) -> None:
    """A training that is watched to its end, and the same without."""
    arguments = ("--optimizer", optimizer, "--steps", "24", "--weights")
    plain = [PYTHON, PLAIN, str(tmp_path / "unwatched"), *arguments, str(tmp_path / "unwatched.pt")]
    subprocess.run(plain, check=True, capture_output=True)
    seen = watch("plain.py", *arguments, str(tmp_path / "watched.pt"), options=("--whole",))
    assert seen.document["optimizers"][0]["steps"] == 24
    one, other = (torch.load(tmp_path / f"{name}.pt") for name in ("unwatched", "watched"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert one.keys() == other.keys()


def test_a_command_that_fails_keeps_its_status(watch: Watch) -> None:
    """And what was seen until then is told."""
    seen = watch("plain.py", "--fail-at", "6")
    assert (seen.code, seen.document["status"], seen.document["stopped"]) == (7, 7, False)
    assert seen.document["optimizers"][0]["steps"] == 6
    assert "the command failed with exit status 7" in seen.err
    seen.agrees()


def test_a_command_that_never_trains(adamw_scale: Command, tmp_path: Path) -> None:
    """One line for each reason, exit status 2 or its own; nothing on stdout."""
    for text, status, said in (
        ("import torch", 2, "no optimizer of torch.optim made a step"),
        ("print(1)", 2, "no Python of the command imported torch"),
        ("raise SystemExit(5)", 5, "It ended with exit status 5."),
        ("import jax", 2, "the command imports jax and not torch"),
    ):
        outcome = adamw_scale("audit", "--", PYTHON, script(tmp_path, text))
        assert (outcome.code, outcome.out) == (status, ""), text
        assert said in outcome.err
        assert outcome.err.count("\n") == 1
    outcome = adamw_scale("audit", "--", str(tmp_path / "no-such-program"))
    assert outcome.code == 2
    assert "cannot be started: No such file or directory. Check what stands after --" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "nothing to audit: pass one FILE, or a command after --"),
        (["train.yaml", "--", "python"], "'train.yaml' and a command after -- are both to be audited"),
        (["train.yaml", "--whole"], "--whole and --steps-total are for a command"),
        (["--framework", "megatron", "--", "python"], "--framework, --devices and --command are for a file"),
        (["--whole", "--steps", "3", "--", "python"], "--whole and --steps both say when to end"),
        (["--steps", "0", "--", "python"], "--steps = 0: write a whole number of steps, from 1"),
        (["--steps-total", "many", "--", "python"], "'many' is not a number"),
    ],
)
def test_what_cannot_be_asked(adamw_scale: Command, arguments: list[str], said: str) -> None:
    """In one line, before anything is run."""
    outcome = adamw_scale("audit", *arguments)
    assert outcome.code == 2
    assert said in outcome.err


def test_gigabytes_of_output_pass_by(tmp_path: Path) -> None:
    """They go to stderr through nobody's memory, and stdout is the answer alone."""
    audit = [PYTHON, "-m", "adamw_scale", "audit", "--json", "--"]
    training = [PYTHON, PLAIN, str(tmp_path / "truth"), "--steps", "20", "--print-megabytes", "10"]
    measured = (
        "import resource, subprocess, sys; status = subprocess.call(sys.argv[1:]); "
        "print('PEAK', resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(status)"
    )
    with (tmp_path / "err").open("wb") as err:
        out = subprocess.run([PYTHON, "-c", measured, *audit, *training], stdout=subprocess.PIPE, stderr=err).stdout
    document, _, peak = out.decode().partition("PEAK")
    assert json.loads(document)["optimizers"][0]["steps"] == 20
    assert (tmp_path / "err").stat().st_size > 200 << 20
    assert int(peak) < 900 << 10  # KiB; torch itself, in the training, is nearly all of it


def test_what_execs_forks_and_hides_is_seen_and_ended(
    adamw_scale: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shell that execs Python, which forks, and whose child leaves the process group and the terminal."""
    monkeypatch.setattr(command, "GRACE_SECONDS", 1.0)
    daemon = script(
        tmp_path,
        "import os, sys, time\nif os.fork():\n    os._exit(0)\nos.setsid()\nif os.fork():\n    os._exit(0)\n"
        f"{TINY}\ntry:\n    train(100)\nexcept KeyboardInterrupt:\n    time.sleep(300)\n",
    )
    outcome = adamw_scale("audit", "--json", "--steps", "30", "--", "bash", "-c", f"exec {PYTHON} {daemon}")
    document = json.loads(outcome.out)
    assert (document["stopped"], document["optimizers"][0]["steps"]) == (True, 30)
    assert eventually(lambda: not left_over())


def test_spawned_and_forked_processes_report(adamw_scale: Command, tmp_path: Path) -> None:
    """Processes of multiprocessing, which end without Python's atexit."""
    trained = script(
        tmp_path,
        f"import multiprocessing as m\n{TINY}\nif __name__ == '__main__':\n"
        "    for how in ('spawn', 'fork'):\n"
        "        p = m.get_context(how).Process(target=train, args=(7,)); p.start(); p.join()\n",
    )
    document = json.loads(adamw_scale("audit", "--json", "--", PYTHON, trained).out)
    assert document["processes"] == 2
    assert document["optimizers"][0]["steps"] == 7
    assert document["optimizers"][0]["groups"][0]["lrs"] == [[1, 1e-3]]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_ends_all(tmp_path: Path, number: signal.Signals, status: int) -> None:
    """Ctrl-C is passed on; nothing is left, no folder either."""
    audit = [PYTHON, "-m", "adamw_scale", "audit", "--whole", "--"]
    training = [PYTHON, PLAIN, str(tmp_path / "truth"), "--dawdle"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen([*audit, *training], env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    assert eventually((tmp_path / "truth").exists, 120)
    assert list(tmp_path.glob("adamw-scale-*"))
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == status
    assert (b"interrupted" in out or b"seen" in out) == (number == signal.SIGINT)  # what was seen until then
    assert (b"adamw-scale: interrupted" in err) == (number == signal.SIGINT)
    assert eventually(lambda: not left_over())
    assert not list(tmp_path.glob("adamw-scale-*"))


def test_being_killed_leaves_nothing_running(tmp_path: Path) -> None:
    """Even SIGKILL, after which we can do nothing ourselves."""
    audit = [PYTHON, "-m", "adamw_scale", "audit", "--whole", "--"]
    training = [PYTHON, PLAIN, str(tmp_path / "truth"), "--dawdle"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen([*audit, *training], env=environment, stderr=subprocess.DEVNULL)
    assert eventually((tmp_path / "truth").exists, 120)
    process.kill()
    process.wait()
    assert eventually(lambda: not left_over())


def test_a_training_that_catches_the_interrupt_is_ended(
    adamw_scale: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is given time to save, and no more."""
    monkeypatch.setattr(command, "GRACE_SECONDS", 1.0)
    stubborn = script(
        tmp_path,
        f"import time\n{TINY}\ntry:\n    train(100)\nexcept KeyboardInterrupt:\n    time.sleep(300)\n",
    )
    start = time.monotonic()
    document = json.loads(adamw_scale("audit", "--json", "--", PYTHON, stubborn).out)
    assert document["stopped"]
    assert document["optimizers"][0]["steps"] == 20
    assert time.monotonic() - start < 120
    assert eventually(lambda: not left_over())


def test_a_daemon_is_not_waited_for_without_end(adamw_scale: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be a training that has not begun, for some time; what is waited for is said."""
    monkeypatch.setattr(command, "UNSAID_SECONDS", 0.2)
    monkeypatch.setattr(command, "UNSEEN_SECONDS", 1.0)
    start = time.monotonic()
    outcome = adamw_scale("audit", "--", "sh", "-c", "(setsid sleep 617 >/dev/null 2>&1 &); true")
    assert outcome.code == 2
    assert "has ended and left processes" in outcome.err
    assert "nothing to audit" in outcome.err
    assert time.monotonic() - start < 20
    assert eventually(lambda: not left_over())


def test_a_command_without_a_name_is_one_line(tmp_path: Path) -> None:
    """From the guard, too, whose error stream is ours."""
    audit = [PYTHON, "-m", "adamw_scale", "audit", "--", ""]
    ended = subprocess.run(audit, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (2, "", 1)
    assert "cannot be started" in ended.stderr


def test_our_interrupt_prints_no_traceback(tmp_path: Path) -> None:
    """Where nothing catches it; an error that follows on it is shown as ever."""
    for text, shown in (("train(100)", False), ("try: train(100)\nexcept KeyboardInterrupt: 1 / 0", True)):
        audit = [PYTHON, "-m", "adamw_scale", "audit", "--json", "--", PYTHON, script(tmp_path, f"{TINY}\n{text}\n")]
        ended = subprocess.run(audit, capture_output=True, text=True)
        assert json.loads(ended.stdout)["stopped"]
        assert ("Traceback" in ended.stderr) == ("ZeroDivisionError" in ended.stderr) == shown


def test_the_hook_is_for_old_pythons_and_hides_nothing(tmp_path: Path) -> None:
    """It parses as Python 3.8; a sitecustomize of the user's own is run; without a plan nothing is hooked."""
    for file in {*HOOK.glob("*.py")} - {HOOK / "folder.py"} | {HOOK.parent / "integrations" / "measuring.py"}:
        ast.parse(file.read_text(), feature_version=(3, 8))
        assert "from __future__ import annotations" in file.read_text() or file.name == "__init__.py"
    (tmp_path / "sitecustomize.py").write_text("print('mine')")
    path = os.pathsep.join((str(HOOK), str(tmp_path)))
    asked = (
        "import sys; print([type(f).__name__ for f in sys.meta_path if type(f).__name__ == '_Waiting'], sys.path[1])"
    )
    environment = {**os.environ, "PYTHONPATH": path}
    for plan, waits in (("", "[]"), (json.dumps({"folder": str(tmp_path)}), "['_Waiting']")):
        told = subprocess.run(
            [sys.executable, "-c", asked],
            env={**environment, "ADAMW_SCALE_WATCH": plan},
            capture_output=True,
            text=True,
            check=True,
        )
        assert told.stdout.split() == ["mine", waits, str(tmp_path)]
