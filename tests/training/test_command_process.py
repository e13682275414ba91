"""How a command runs and ends: its log, its surroundings, and that nothing is left of it."""

import os
import re
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from command_bench import PYTHON, WD, Bench, children, elsewhere, eventually, is_running, quiet, sweep_of

from adamw_scale.errors import ProbeError
from adamw_scale.probe.engines.processes import ProcessesEngine
from adamw_scale.spec.measurement import ProbeConfig, ProbeResult
from adamw_scale.training.commands import process
from adamw_scale.training.tasks.command import CommandTask
from adamw_scale.training.tasks.task import Progress, TaskSource


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A command in an empty folder."""
    return Bench(tmp_path)


def test_the_log_is_appended_to(bench: Bench) -> None:
    """Both streams, what was run and what came of it are kept, over several attempts."""
    line = bench.script("import sys; print('out'); print('err', file=sys.stderr); print('{\"loss\": 1}')")
    for attempt in (1, 2):
        bench.run(line)
        text = bench.log.decode()
        assert text.count("$ ") == text.count("out\n") == text.count("err\n") == attempt
    assert text.splitlines()[0].startswith(f"$ {PYTHON} -S")
    assert text.splitlines()[-1].startswith("adamw-scale: done after")


def test_environment_and_working_directory_are_the_users(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script finds its files and its variables as if it had been started by hand; its stdin is empty."""
    monkeypatch.setenv("MY_VARIABLE", "mine")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    line = bench.script(
        "import os, sys; print('{\"loss\": 1}', os.getcwd(), os.environ['MY_VARIABLE'], repr(sys.stdin.read())); "
        "print('{\"loss\": 1}')"
    )
    assert bench.run(line).status == "done"
    assert f"{tmp_path / 'here'} mine ''".encode() in bench.log


def test_a_run_dir_survives_an_attempt(bench: Bench) -> None:
    """A script that checkpoints into {run_dir} goes on from there when its probe is run again."""
    line = bench.script(
        """
        import os, sys
        path = os.path.join(sys.argv[2], "steps")
        done = int(open(path).read()) if os.path.exists(path) else 0
        open(path, "w").write(str(done + 50))
        if not done:
            os.kill(os.getpid(), 9)
        print('{"loss": %d}' % done)
        """
    )
    results = [bench.run(f"{line} {{run_dir}}") for _ in range(2)]
    assert [(result.status, result.loss) for result in results] == [("failed", None), ("done", 50.0)]
    assert "SIGKILL" in str(results[0].reason)


# --- how it ends


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("import sys; sys.exit(7)", r"exit status 7; .*it printed nothing"),
        ("raise RuntimeError('boom')", r"exit status 1; .*ends: .*RuntimeError: boom"),
        ("print('{\"loss\": 1.5}'); raise SystemExit('late')", r"exit status 1; .*ends: .*late"),
        ("import os; os.kill(os.getpid(), 9)", "killed by SIGKILL, perhaps for want of memory"),
        ("import os; os.kill(os.getpid(), 11)", "killed by SIGSEGV"),
        ("print('a\\x1b[31mred\\x07 line'); raise SystemExit(1)", r"a\?\[31mred\? line"),
    ],
)
def test_a_command_that_fails(bench: Bench, body: str, says: str) -> None:
    """Status or signal, the log's name and its last lines, on one printable line."""
    result = bench.run(bench.script(body))
    assert result.status == "failed"
    assert result.reason is not None
    assert re.search(says, result.reason), result.reason
    assert result.reason.isprintable()


STUBBORN = """
import os, signal, subprocess, sys, time
ignore = {ignore}
if ignore:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
with open({pids!r}, "w") as file:
    file.write(f"{{os.getpid()}} {{child.pid}}")
print('{{"step": 1, "loss": 3.5}}', flush=True)
{then}
"""


def stubborn(
    bench: Bench, then: str = "time.sleep(600)", *, ignore: bool = False
) -> tuple[str, Callable[[], list[int]]]:
    """A command with a child that would both run for long, and the ids of the two once they run."""
    pids = bench.folder / "pids"
    line = bench.script(STUBBORN.format(ignore=ignore, pids=str(pids), then=then))
    return line, lambda: [int(pid) for pid in pids.read_text().split()]


@pytest.mark.parametrize("ignore", [False, True])
def test_a_timeout_ends_the_whole_group(bench: Bench, monkeypatch: pytest.MonkeyPatch, ignore: bool) -> None:
    """Also what ignores SIGTERM, and what the command started; the probe has failed and says why."""
    monkeypatch.setattr(process, "GRACE_SECONDS", 0.5)
    line, pids = stubborn(bench, ignore=ignore)
    result = bench.run(line, timeout="1.5")
    assert result.status == "failed"
    assert "longer than --timeout 1.5" in str(result.reason)
    assert result.curve == ((1, 3.5),)
    assert eventually(lambda: not any(is_running(pid) for pid in pids()))


ESCAPES = {
    "a session": "setsid sleep 600",
    "a daemon": "(setsid setsid sleep 600 >/dev/null 2>&1 &)",
    "a daemon that knows nothing of its surroundings": "(env -i setsid sleep 600 &)",
    "a daemon that holds the output and ignores SIGTERM": """(setsid sh -c 'trap "" TERM HUP; sleep 600; :' &)""",
}


@pytest.mark.parametrize("escape", ESCAPES.values(), ids=ESCAPES)
@pytest.mark.parametrize("end", ["time-out", "exit", "our death"])
def test_what_leaves_the_process_group_ends_too(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, escape: str, end: str
) -> None:
    """As torchrun's workers do, and daemons; its output is not waited for, and its grace is given once."""
    monkeypatch.setattr(process, "GRACE_SECONDS", 1.0)
    ours = f"6{len(escape)}{ord(end[0])}"  # seconds that nobody else sleeps
    then = "" if end == "exit" and "&" in escape else "wait; sleep 600"
    line = f"sh -c {shlex.quote(escape.replace('600', ours) + '; ' + then)} {WD}"
    started = time.monotonic()
    if end == "our death":
        config = sweep_of(bench.task(line)).config(0, -2.0)
        parent = subprocess.Popen(elsewhere(line, bench.folder, config), stderr=subprocess.DEVNULL)
        assert eventually(lambda: sleeping(ours))
        parent.kill()
        parent.wait()
    else:
        bench.run(line, timeout="0.5")
        assert time.monotonic() - started < 6
    assert eventually(lambda: not sleeping(ours))


def sleeping(seconds: str) -> list[str]:
    """Processes that sleep for exactly so long."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if place.read_bytes() == f"sleep\0{seconds}\0".encode():
                found.append(place.parent.name)
    return found


def test_a_guard_that_is_killed_is_told_from_an_answer(bench: Bench) -> None:
    """Memory may run out for anybody: the probe has failed, and its command has ended."""
    line = bench.script("import os, time; os.kill(os.getppid(), 9); time.sleep(600)")
    result = bench.run(line)
    assert result.status == "failed"
    assert "killed by SIGKILL" in str(result.reason)
    assert not [pid for pid in Path("/proc").glob("[0-9]*") if runs(pid, str(bench.folder / "script.py"))]


def runs(place: Path, script: str) -> bool:
    """Whether a process of /proc runs a script."""
    try:
        return script.encode() in (place / "cmdline").read_bytes()
    except OSError:
        return False


def test_a_script_may_tidy_up_after_a_timeout(bench: Bench) -> None:
    """SIGTERM comes first, and what the script says then is in the log."""
    line = bench.script(
        """
        import signal, sys, time
        def tidy(*_):
            print("tidied")
            sys.exit(0)
        signal.signal(signal.SIGTERM, tidy)
        time.sleep(600)
        """
    )
    result = bench.run(line, timeout="1")
    assert str(result.reason).endswith("tidied")


def test_a_process_left_behind_neither_blocks_nor_survives(bench: Bench) -> None:
    """A child that holds the output open is not waited for, and ends with its command."""
    line, pids = stubborn(bench, "print('{{\"val_loss\": 2.5}}')".replace("{{", "{").replace("}}", "}"))
    result = bench.run(line)
    assert (result.status, result.loss) == ("done", 2.5)
    assert eventually(lambda: not any(is_running(pid) for pid in pids()))


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, SystemExit])
def test_an_exception_ends_the_whole_group(bench: Bench, error: type[BaseException]) -> None:
    """Whatever is raised while the command runs, nothing of it is left, and no descriptor stays open."""
    line, pids = stubborn(bench)
    descriptors = len(os.listdir("/proc/self/fd"))

    def interrupt(news: Progress) -> None:
        raise error

    with pytest.raises(error):
        bench.run(line, interrupt)
    assert eventually(lambda: not any(is_running(pid) for pid in pids()))
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_a_second_interrupt_still_ends_the_group(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Impatience while the command is asked to end costs it its time to tidy up, nothing else."""
    line, pids = stubborn(bench, ignore=True)
    main, before = threading.main_thread().ident, children()
    assert main is not None

    def interrupt(news: Progress) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # also where pytest ignores it, in the background
        threading.Timer(0.5, signal.pthread_kill, (main, signal.SIGINT)).start()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.run(line, interrupt)
    assert eventually(lambda: not any(is_running(pid) for pid in pids()))
    assert children() == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT, signal.SIGHUP])
def test_the_death_of_the_parent_ends_the_whole_group(bench: Bench, number: signal.Signals) -> None:
    """Even kill -9 leaves no orphan: the guard sees its parent go."""
    line, pids = stubborn(bench)
    config = sweep_of(bench.task(line)).config(0, -2.0)
    parent = subprocess.Popen(elsewhere(line, bench.folder, config), stderr=subprocess.DEVNULL)
    assert eventually(lambda: (bench.folder / "pids").exists() and len(pids()) == 2)
    assert all(is_running(pid) for pid in pids())
    parent.send_signal(number)
    parent.wait()
    assert eventually(lambda: not any(is_running(pid) for pid in pids()))


def test_ending_an_engine_of_processes_ends_its_commands(bench: Bench) -> None:
    """Workers that are stopped in the middle of a probe leave nothing behind."""
    line, pids = stubborn(bench)
    source = TaskSource("command", None, {"command": line}, str(bench.folder))
    config = sweep_of(CommandTask(source)).config(0, -2.0)

    def interrupt(news: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), ProcessesEngine(source, 1, {}) as engine:
        list(engine.run([[config]], interrupt))
    assert eventually(lambda: not any(is_running(pid) for pid in pids()))


def test_many_probes_leave_no_zombie(bench: Bench) -> None:
    """Commands and guards are all waited for."""
    before = children()
    for _ in range(5):
        assert bench.run(f"""sh -c 'echo "{{{{\\"loss\\": 1}}}}"' {WD}""").status == "done"
    assert children() == before


def test_commands_may_run_beside_each_other(bench: Bench) -> None:
    """Threads may each train a probe: nothing is shared."""
    task = bench.task(bench.script("import sys; print('{\"loss\": %s}' % sys.argv[1])"))
    configs = [sweep_of(task).config(0, x) for x in (-3.0, -2.0, -1.0, 0.0)]
    results: dict[str, ProbeResult] = {}

    def train(config: ProbeConfig) -> None:
        results[config.key] = task.train([config], quiet)[0]

    threads = [threading.Thread(target=train, args=(config,)) for config in configs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {key: result.loss for key, result in results.items()} == {c.key: c.run.weight_decay for c in configs}


def test_a_program_that_cannot_be_executed_is_one_line(bench: Bench, tmp_path: Path) -> None:
    """An executable of no format is found and refused by the system only when it is started."""
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x7fELF nothing")
    broken.chmod(0o755)
    with pytest.raises(ProbeError, match=r"cannot be started: .*Change --command"):
        bench.run(f"{shlex.quote(str(broken))} {WD}")
