"""What a calibration shows while it runs: on terminals of any width, in files, and where nobody reads it."""

import io
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from adamw_scale import TrainingRun
from adamw_scale.cli.progress import MOST_ROWS, Display, standard_error
from adamw_scale.cli.sparklines import ASCII, BLOCKS, NO_NUMBER, sparkline
from adamw_scale.spec.measurement import ProbeConfig, ProbeResult
from adamw_scale.training.tasks.task import Progress

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
STEPS = 2048
WIDTHS = (40, 64, 80, 132)
NARROW = 20


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """The time."""
        return self.now


def config(seed: int = 0, weight_decay: float = 0.1, device: str = "cpu") -> ProbeConfig:
    """A probe of a small language model."""
    run = TrainingRun(
        dataset_size=16384, batch_size=256, epochs=32, peak_lr=2e-3, weight_decay=weight_decay, num_params=1e5
    )
    return ProbeConfig.model_validate({"task": {"name": "planted"}, "run": run, "seed": seed, "device": device})


def ended(probe: ProbeConfig, loss: float | None = 2.3, reason: str | None = None) -> ProbeResult:
    """A probe's result; without loss or reason it diverged."""
    status = "failed" if reason else "diverged" if loss is None else "done"
    loss = None if reason else loss
    return ProbeResult.model_validate(
        {"key": probe.key, "config": probe, "status": status, "loss": loss, "reason": reason, "seconds": 1.5}
    )


def console(width: int, *, encoding: str = "utf-8", interactive: bool = True, height: int = 25) -> Console:
    """A console that writes into memory."""
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    return Console(
        file=file,
        width=width,
        height=height,
        force_terminal=interactive,
        force_interactive=interactive,
        highlight=False,
        legacy_windows=False,
    )


def written(console: Console) -> str:
    """Everything that went to a console in memory."""
    console.file.flush()
    buffer: io.BytesIO = console.file.buffer  # type: ignore[attr-defined]
    return buffer.getvalue().decode(console.encoding)


def lines(display: Display) -> list[str]:
    """The picture as it stands, line by line, without its colours."""
    with display.console.capture() as capture:
        display.console.print(display.get_renderable())
    return re.sub(r"\x1b\[[0-9;]*m", "", capture.get()).splitlines()


def busy(display: Display, clock: Clock, probes: int = 20) -> None:
    """Five of 19 probes known, one more done, `probes` others halfway."""
    configs = [config(seed) for seed in range(probes + 1)]
    display.stage(configs, 5, 19)
    for step in range(64, STEPS // 2 + 1, 64):
        for each in configs:
            display.progress(Progress(each, step, STEPS, 2.0 + 3 * math.exp(-step / 200)))
    clock.now += 60
    display.result(ended(configs[0]))


def display(width: int, **options: object) -> tuple[Display, Clock]:
    """A display in memory, and its clock."""
    clock = Clock()
    return Display(console(width, **options), clock), clock  # type: ignore[arg-type]


@pytest.mark.parametrize("width", WIDTHS)
def test_everything_is_shown_at_any_width(width: int) -> None:
    """Counts, time left, the lowest loss, cost, a row per probe; no line wraps."""
    shown, clock = display(width)
    busy(shown, clock)
    picture = lines(shown)
    text = "\n".join(picture)
    assert all(len(line) <= width for line in picture)
    assert "6 of about 26" in picture[0]
    assert "0:" in picture[0]
    assert "left" in picture[0]
    assert "loss 2.3000 at 240 %" in picture[1]
    assert "1.5 core-seconds" in picture[2]
    assert "3.1e+11" in picture[2]
    assert text.count("1024/2048") == MOST_ROWS
    assert sum(f" {BLOCKS[-1]}" in line and line[:-7].rstrip().endswith(BLOCKS[0]) for line in picture) == MOST_ROWS
    assert text.count("2.018") == MOST_ROWS
    assert picture[-1] == "  and 12 more"
    assert "━" in picture[0]
    assert ("λ 0.1" in picture[1]) == (width >= 64)


def test_a_low_terminal_shows_fewer_rows() -> None:
    """The picture is no higher than the screen."""
    shown, clock = display(80, height=8)
    busy(shown, clock)
    assert len(lines(shown)) <= 8
    assert lines(shown)[-1] == "  and 17 more"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437"])
@pytest.mark.parametrize("width", WIDTHS)
def test_encodings_without_blocks(width: int, encoding: str) -> None:
    """Nothing is written that the terminal lacks, and the curve is there all the same."""
    shown, clock = display(width, encoding=encoding)
    with shown:
        busy(shown, clock)
    assert all(line.isascii() for line in lines(shown))
    assert "---" in lines(shown)[0]
    assert f" {ASCII[-1]}" in lines(shown)[-2]
    assert "wd 0.1" in written(shown.console)
    assert "?" not in written(shown.console).replace("\x1b[?25", "")


def test_a_very_narrow_terminal_of_any_encoding_is_cropped() -> None:
    """What does not fit is left out, without a character that the terminal may lack."""
    shown, clock = display(NARROW, encoding="ascii")
    busy(shown, clock)
    assert lines(shown)
    assert all(line.isascii() and len(line) <= NARROW for line in lines(shown))


def test_without_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    """The picture needs none."""
    monkeypatch.setenv("NO_COLOR", "1")
    shown, clock = display(80)
    with shown:
        busy(shown, clock)
        shown.refresh()
    assert "\x1b[3" not in written(shown.console)
    assert "1024/2048" in written(shown.console)


def test_before_anything_is_known() -> None:
    """No numbers are made up: neither a time left, nor a cost, nor a lowest loss."""
    shown, clock = display(80)
    assert lines(shown) == ["starting"]
    shown.stage([config(seed) for seed in range(5)], 0, 19)
    assert lines(shown)[0].startswith("probes  0 of about 19 -:--:-- left")
    clock.now += 100
    shown.progress(Progress(config(0), 1, STEPS, 3.0))
    assert "-:--:-- left" in lines(shown)[0]
    assert len(lines(shown)) == 2


def test_the_bar_counts_parts_of_probes() -> None:
    """Probes that run side by side end together: between, it moves all the same, and never past its end."""
    shown, _ = display(80)
    configs = [config(seed) for seed in range(10)]
    shown.stage(configs, 10, 30)
    for each in configs:
        shown.progress(Progress(each, STEPS // 2, STEPS, 3.0))
    assert shown.tasks[0].percentage == 50
    for _ in range(30):
        shown.result(ended(configs[0]))
    assert shown.tasks[0].percentage == 100


def test_time_left_follows_from_this_session() -> None:
    """Ten probes in a minute, whatever was there before: the next ten take another."""
    shown, clock = display(80)
    configs = [config(seed) for seed in range(10)]
    shown.stage(configs, 30, 50)
    for each in configs:
        clock.now += 6
        shown.result(ended(each))
    assert "40 of about 50 0:01:00 left" in lines(shown)[0]
    shown.stage([config(99)], 40, 50)
    clock.now += 3
    shown.progress(Progress(config(99), STEPS // 2, STEPS, 3.0))
    assert "40 of about 50 0:00:57 left" in lines(shown)[0]


@pytest.mark.parametrize(("seconds", "says"), [(45, "0:00:45 left"), (11100, "3:05:00 left"), (4e5, "111:06:40 left")])
def test_long_probes_have_a_time_left(seconds: float, says: str) -> None:
    """However seldom there is news."""
    shown, clock = display(80)
    configs = [config(seed) for seed in range(3)]
    shown.stage(configs, 0, 0)
    for each in configs[:2]:
        clock.now += seconds
        shown.result(ended(each))
    assert says in lines(shown)[0]


def test_the_lowest_loss_stays() -> None:
    """Neither a higher one nor one that diverged replaces it."""
    shown, _ = display(80)
    for seed, loss in enumerate((2.5, 2.1, None, 2.4)):
        shown.result(ended(config(seed), loss))
    assert shown.lowest is not None
    assert shown.lowest.value == 2.1


def test_cost_counts_what_was_trained() -> None:
    """6·N·D of what was trained to its end or diverged; GPU-seconds on a GPU."""
    shown, _ = display(80)
    shown.stage([config(0, device="cuda")], 0, 19)
    shown.result(ended(config(0, device="cuda")))
    shown.result(ended(config(1, device="cuda"), None))
    shown.result(ended(config(2, device="cuda"), reason="exit status 1"))
    assert shown.operations == 2 * 6 * 1e5 * 16384 * 32
    assert "4.5 GPU-seconds, 6.3e+11 floating-point operations" in lines(shown)[2]


def test_training_that_goes_back_redraws_its_curve() -> None:
    """A batch whose worker died starts again from its checkpoint."""
    shown, _ = display(80)
    for step, loss in ((100, 3.0), (200, 2.0), (300, 1.0), (200, 2.5)):
        shown.progress(Progress(config(), step, 400, loss))
    (probe,) = shown.in_training.values()
    assert probe.curve == [(100, 3.0), (200, 2.5)]
    assert probe.step == 200


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf, 1e308])
def test_losses_that_are_no_numbers_are_shown(loss: float) -> None:
    """A probe that diverges spoils no line."""
    shown, _ = display(80)
    shown.stage([config()], 0, 19)
    for step, each in enumerate((3.0, loss, 2.0, loss), start=1):
        shown.progress(Progress(config(), step, 4, each))
    assert len(lines(shown)) == 2
    assert lines(shown)[-1].endswith(f"  {loss:.2g}")


def test_a_file_gets_one_line_per_probe() -> None:
    """No live picture, no control codes, nothing per step; how each probe ended."""
    shown, clock = display(80, interactive=False)
    with shown:
        busy(shown, clock)
        shown.result(ended(config(1), None))
        shown.result(ended(config(2), reason="exit status 1:\n :warning: [red]CUDA\x1b[2J error[/red]"))
        shown.stage([config(3)], 9, 19)
        shown.notice("a notice")
    already, *probes, notice = written(shown.console).splitlines()
    assert already == "5 probes of this calibration are already in the folder"
    assert [line.split("  ", 4)[0] for line in probes] == ["seed 0", "seed 1", "seed 2"]
    assert "timescale   240 % of the run  λ 0.1      held-out loss 2.3000  1.5 s" in probes[0]
    assert "diverged" in probes[1]
    assert "failed: exit status 1: :warning: [red]CUDA?[2J error[/red]" in probes[2]
    assert notice == "a notice"
    assert "\x1b" not in written(shown.console)


def test_forced_colour_makes_no_terminal_of_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Logs of continuous integration are not redrawn four times a second."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    with (tmp_path / "log").open("w") as file:
        monkeypatch.setattr(sys, "stderr", file)
        with Display(standard_error()) as shown:
            shown.stage([config()], 0, 19)
            shown.result(ended(config()))
    assert "\x1b" not in (tmp_path / "log").read_text()
    assert (tmp_path / "log").read_text().count("\n") == 1


SHOW = """
import sys, time
sys.path.insert(0, {tests!r})
from adamw_scale.cli.progress import Display
from test_progress import config, ended, Progress, STEPS
with Display() as display:
    display.stage([config(seed) for seed in range(4)], 0, 19)
    print("started", file=sys.__stdout__, flush=True)
    sys.stdin.readline()
    for step in range(0, STEPS, 64):
        display.progress(Progress(config(1), step, STEPS, 3.0))
    time.sleep(0.6)  # two pictures
    for seed in range(4):
        display.result(ended(config(seed)))
print("ended")
"""


def show(stderr: int, between: Callable[[], None]) -> subprocess.CompletedProcess[str]:
    """A display in a process of its own, whose stderr something happens to before its first probe."""
    code = SHOW.format(tests=str(Path(__file__).parent))
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "60", "LINES": "20", "PYTHONIOENCODING": "utf-8"}
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        env=environment,
        text=True,
    ) as process:
        os.close(stderr)
        assert process.stdin is not None
        assert process.stdout is not None
        first = process.stdout.readline()
        between()
        try:
            rest, _ = process.communicate("\n", timeout=60)
        finally:
            process.kill()
    return subprocess.CompletedProcess([], process.returncode, first + rest)


def read_all(terminal: int, seen: list[bytes]) -> None:
    """What a terminal is sent, until its other end is closed, which is an error to it."""
    with suppress(OSError):
        while part := os.read(terminal, 1 << 16):
            seen.append(part)
    os.close(terminal)


def test_a_real_terminal_shows_the_picture() -> None:
    """Redrawn in place while probes run; at the end only the lines of finished probes are left."""
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    seen: list[bytes] = []
    reader = Thread(target=read_all, args=(ours, seen))
    outcome = show(theirs, reader.start)
    reader.join()
    assert (outcome.returncode, outcome.stdout) == (0, "started\nended\n")
    text = b"".join(seen).decode()
    assert "probes  0 of about 19" in text
    assert "1984/2048" in text
    assert text.count("held-out loss") == 4
    assert "\x1b[2K" in text


def test_a_terminal_that_goes_away_ends_the_picture_only() -> None:
    """As when a connection breaks and the process was told to stay."""
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    outcome = show(theirs, lambda: os.close(ours))
    assert (outcome.returncode, outcome.stdout) == (0, "started\nended\n")


def test_a_reader_that_leaves_ends_the_lines_only() -> None:
    """As of `2> >(head -1)`."""
    reading, writing = os.pipe()
    outcome = show(writing, lambda: os.close(reading))
    assert (outcome.returncode, outcome.stdout) == (0, "started\nended\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
def test_a_log_on_a_full_disk_ends_the_lines_only() -> None:
    """The calibration goes on; its results may be on another disk."""
    outcome = show(os.open("/dev/full", os.O_WRONLY), lambda: None)
    assert (outcome.returncode, outcome.stdout) == (0, "started\nended\n")


@given(st.lists(st.floats(), max_size=200), st.integers(-3, 60), st.sampled_from([BLOCKS, ASCII]))
def test_a_sparkline_is_as_long_as_it_may_be(values: list[float], width: int, levels: str) -> None:
    """One character per value up to the width, of its levels, whatever the values."""
    line = sparkline(values, width, levels)
    assert len(line) == max(0, min(len(values), width))
    assert set(line) <= {*levels, NO_NUMBER}


@given(st.lists(NUMBERS, min_size=1, max_size=50))
def test_a_sparkline_is_monotone(values: list[float]) -> None:
    """A higher value is never drawn lower; the lowest and the highest take the ends."""
    line = sparkline(values, len(values))
    drawn = sorted(zip(values, map(BLOCKS.index, line), strict=True))
    levels = [level for _, level in drawn]
    assert levels == sorted(levels)
    assert levels[0] == 0
    assert levels[-1] == (7 if max(values) / 2 > min(values) / 2 else 0)


@given(NUMBERS, st.integers(1, 50))
def test_a_constant_is_flat(value: float, count: int) -> None:
    """Without a span there is nothing to see, and nothing to divide by."""
    assert sparkline([value] * count, count) == BLOCKS[0] * count


@given(st.lists(NUMBERS, min_size=1, max_size=100), st.integers(1, 30))
def test_a_sparkline_ends_with_the_last_value(values: list[float], width: int) -> None:
    """However many are left out."""
    shown = sparkline([*values, math.nan], width)
    assert shown.endswith(NO_NUMBER)


def test_what_is_no_number_leaves_the_others_alone() -> None:
    """NaN and infinities stand out, and do not stretch the scale."""
    assert sparkline([1.0, math.nan, 2.0, math.inf, 3.0, -math.inf], 6) == "▁x▅x█x"
