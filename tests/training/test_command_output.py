"""What a command says: its result, its progress, and whatever else it may print."""

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from command_bench import PYTHON, WD, Bench, elsewhere, quiet, sweep_of
from hypothesis import given
from hypothesis import strategies as st

from adamw_scale.training.commands.output import CURVE_POINTS, Printed
from adamw_scale.training.commands.process import LARGEST_LOG
from adamw_scale.training.tasks.task import Progress


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A command in an empty folder."""
    return Bench(tmp_path)


@pytest.mark.parametrize(
    ("lines", "loss"),
    [
        (['{"loss": 2.5}'], 2.5),
        (['{"loss": 3}'], 3.0),
        (['{"loss": 9}', "bye", '{"loss": 1.5}', "done."], 1.5),
        (['{"val_loss": 1.25}'], 1.25),
        (['{"eval_loss": 1.25, "epoch": 4}'], 1.25),
        (['{"loss": 0.5, "val_loss": 1.25}'], 1.25),
        (['{"loss": 0.5, "epoch": 1}', '{"eval_loss": 1.25}'], 1.25),
        (['{"step": 9, "loss": 0.5}', '{"val_loss": 1.25}'], 1.25),
        (['{"step": 9, "loss": 0.5, "val_loss": 1.25}', '{"step": 10, "loss": 0.4, "val_loss": null}'], 1.25),
        (['{"loss": 1}', '{"loss": "high"}', '{"loss": [1]}', '{"loss": true}', '{"loss": {}}'], 1.0),
        (['{"loss": 1}', '{"loss": 2', "{loss: 3}", "['loss', 4]", "[5]", "6", '"loss"'], 1.0),
        (['  {"loss": 1.5}  '], 1.5),
        (['\r 50% |###  |\r{"loss": 1.5}'], 1.5),
        (['{"loss": 1.5}\r'], 1.5),
        (['\x1b[32m{"loss": 1.5}\x1b[0m'], 1.5),
        (['\ufeff{"loss": 1.5}'], 1.5),
        (['{"a": {"loss": 7}, "loss": 1.5}'], 1.5),
    ],
)
def test_the_result_is_the_last_object_with_the_metric(bench: Bench, lines: list[str], loss: float) -> None:
    """Held-out losses go before "loss", which may be that of a batch; what is no object is passed over."""
    result = bench.says(*lines)
    assert (result.status, result.loss, result.reason) == ("done", loss, None)


@pytest.mark.parametrize(
    "value",
    [
        *("NaN", "nan", "-nan", "Infinity", "-Infinity", "inf", "-inf", "+inf"),
        *("null", '"nan"', '"-Infinity"', "1e999", "1" + "0" * 400),
    ],
)
@pytest.mark.parametrize("status", [0, 3])
def test_a_loss_that_is_no_number_is_a_divergence(bench: Bench, value: str, status: int) -> None:
    """In any language's spelling, whatever the exit status."""
    result = bench.says('{"loss": 1.0, "step": 1}', f'{{"loss": {value}, "steps": 7}}', status=status)
    assert (result.status, result.loss, result.reason, result.metrics) == ("diverged", None, None, {})


@pytest.mark.parametrize("status", [0, 1])
def test_a_training_loss_that_ends_as_nan_is_a_divergence(bench: Bench, status: int) -> None:
    """A script that stops at the first NaN, or crashes of it, has diverged, even if an earlier evaluation was fine."""
    result = bench.says('{"step": 1, "loss": 3.0, "val_loss": 3.1}', '{"step": 900, "loss": NaN}', status=status)
    assert (result.status, result.curve) == ("diverged", ((1, 3.0),))


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([], "no line that is a JSON object with 'loss'.*it printed nothing"),
        (["loss: 2.5"], "no line that is a JSON object.*ends: loss: 2.5"),
        (['{"accuracy": 0.5}'], "change --metric"),
        (['{"val_loss": 1, "test_loss": 2}'], "val_loss and test_loss: choose with --metric"),
        (['{"step": 9, "loss": 0.5}'], "losses of training steps only"),
        (["{'accuracy': 0.5, 'f1': 0.4}"], r"it printed accuracy, f1; looked for was .*Lightning print"),
    ],
)
def test_a_missing_metric_is_a_failure_that_says_why(bench: Bench, lines: list[str], says: str) -> None:
    """One line names what was printed, the log and its end."""
    result = bench.says(*lines)
    assert result.status == "failed"
    assert result.reason is not None
    assert re.search(says, result.reason), result.reason
    assert f"{result.key}.log" in result.reason
    assert "\n" not in result.reason


def test_a_named_metric(bench: Bench) -> None:
    """--metric takes any name, a training loss too if it is asked for, and no other in its place."""
    line = bench.script("""print('{"step": 5, "loss": 0.5}\\n{"ppl": 9.5, "val_loss": 2, "note": "x"}')""")
    result = bench.run(line, metric="ppl")
    assert (result.loss, result.metrics) == (9.5, {"val_loss": 2.0})
    assert bench.run(line, metric="loss").loss == 0.5
    failed = bench.run(line, metric="bpb")
    assert "'bpb'" in str(failed.reason)


def test_loss_by_name_falls_back_to_the_held_out_loss(bench: Bench) -> None:
    """A script that knows no "loss" is understood where only one held-out loss can be meant, and the log says so."""
    result = bench.run(bench.script("""print('{"val_loss": 2, "acc": 0.5}')"""), metric="loss")
    assert (result.loss, result.metrics) == (2.0, {"val_loss": 2.0, "acc": 0.5})
    assert b"val_loss 2.0" in bench.log.splitlines()[-1]


def test_every_other_number_is_a_metric(bench: Bench) -> None:
    """Numbers beside the metric are kept; text, containers, booleans and what is not finite are not."""
    result = bench.says('{"loss": 1, "acc": 0.5, "n": 3, "bad": NaN, "none": null, "ok": true, "s": "4", "l": [5]}')
    assert result.metrics == {"acc": 0.5, "n": 3.0}


def test_a_metric_that_is_maximised(bench: Bench) -> None:
    """The search minimises the negative; the number itself is among the metrics."""
    result = bench.run(bench.script("""print('{"acc": 0.75, "n": 2}')"""), metric="acc", mode="max")
    assert (result.loss, result.metrics) == (-0.75, {"acc": 0.75, "n": 2.0})


@pytest.mark.parametrize(
    ("content", "loss"),
    [
        ('{"val_loss": 2.5}', 2.5),
        (json.dumps({"val_loss": 2.5, "deep": {"a": [1, 2]}}, indent=2), 2.5),
        ('{"step": 1, "loss": 3}\n{"val_loss": 4}\n{"val_loss": 2.5}', 2.5),
        ('{"val_loss": 2.5}\n\n', 2.5),
    ],
)
def test_the_output_file(bench: Bench, content: str, loss: float) -> None:
    """A file with an object, on one line or many, or with one a line; it speaks last."""
    line = bench.script(f"import sys; print('{{\"val_loss\": 99}}'); open(sys.argv[2], 'w').write({content!r})")
    assert bench.run(f"{line} {{output}}").loss == loss


def test_an_output_file_of_an_earlier_attempt_is_not_read(bench: Bench) -> None:
    """A command that writes nothing has no result, whatever lies there."""
    line = bench.script("import sys, os; print(os.path.exists(sys.argv[2]))") + " {output}"
    task = bench.task(line)
    config = sweep_of(task).config(0, -2.0)
    (bench.folder / "logs").mkdir()
    (bench.folder / "logs" / f"{config.key}.json").write_text('{"loss": 1}')
    (result,) = task.train([config], quiet)
    assert result.status == "failed"
    assert str(result.reason).endswith("False")


def test_the_error_stream_is_no_result(bench: Bench) -> None:
    """What is logged to stderr may look like a result; it is kept in the log."""
    line = bench.script("import sys; print('{\"loss\": 1}'); print('{\"loss\": 9}', file=sys.stderr)")
    assert bench.run(line).loss == 1.0
    assert b'{"loss": 9}' in bench.log


def test_progress_and_curve(bench: Bench) -> None:
    """Lines with a step and a loss are heard as they come, and are the curve."""
    heard: list[Progress] = []
    line = bench.script(
        """
        import json
        for step in range(0, 1563, 142):
            print(json.dumps({"step": step, "train_loss": 5.0 - step / 1562}))
        print('{"val_loss": 4.0}')
        """
    )
    result = bench.run(line, heard.append)
    assert [(news.step, news.loss) for news in heard] == list(result.curve)
    assert result.curve[0] == (0, 5.0)
    assert len(result.curve) == 12
    assert {news.steps for news in heard} == {1562}
    assert heard[0].config == bench.config


def test_progress_is_heard_while_the_command_runs(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python script need not flush: it goes on only after its first line was heard."""
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    go = bench.folder / "go"
    line = bench.script(
        f"""
        import os, time
        print('{{"step": 1, "loss": 3}}')
        deadline = time.monotonic() + 30
        while not os.path.exists({str(go)!r}) and time.monotonic() < deadline:
            time.sleep(0.01)
        print('{{"val_loss": %d}}' % os.path.exists({str(go)!r}))
        """
    )
    assert bench.run(line, lambda news: go.touch()).loss == 1.0


def test_a_chatty_script_has_a_short_curve() -> None:
    """However many steps are printed, few are kept and few are heard."""
    heard: list[int] = []
    printed = Printed(None, 100_000, lambda step, loss: heard.append(step))
    for step in range(200_000):
        printed.feed(b'{"step": %d, "loss": 1.5}\n' % step)
    assert len(heard) == len(printed.curve) == CURVE_POINTS + 1
    assert max(heard) <= 100_000


@given(st.binary(max_size=300), st.integers(1, 50))
def test_output_may_be_anything_and_come_in_any_pieces(noise: bytes, size: int) -> None:
    """Bytes that are no text, cut anywhere, neither raise nor hide the result that follows."""
    text = b'{"loss": 1}\n' + noise + b'\n{"step": 3, "loss": 2.25}\n{"val_loss": 3.5}'
    printed = Printed("val_loss", 10, lambda step, loss: None)
    for start in range(0, len(text), size):
        printed.feed(text[start : start + size])
    printed.end()
    assert printed.measured()[:2] == ("val_loss", 3.5)


@pytest.mark.parametrize(
    "line",
    [
        b'{"loss": ' + b"[" * 100_000 + b"}",
        b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
        b'{"loss": ' + b"9" * 10_000 + b"}",
    ],
)
def test_lines_made_to_break_a_parser(line: bytes) -> None:
    """Depth and length beyond reason are passed over."""
    printed = Printed(None, 10, lambda step, loss: None)
    printed.feed(line + b'\n{"loss": 1.5}\n')
    assert printed.measured()[1] == 1.5


def test_output_that_is_not_utf8(bench: Bench) -> None:
    """The log keeps the bytes; the result is read all the same."""
    line = bench.script('import os; os.write(1, b\'\\xff\\xfe caf\\xe9\\n{"loss": 1.5, "caf\\xe9": 2}\\n\')')
    result = bench.run(line)
    assert result.loss == 1.5
    assert b"\xff\xfe caf\xe9\n" in bench.log


def test_a_hundred_megabytes_of_output_fit_into_little_memory(tmp_path: Path) -> None:
    """Output is streamed to the log, also where it is a single line; the process that listens stays small."""
    script = tmp_path / "loud.py"
    script.write_text(
        "import os, sys\n"
        "for i in range(50): os.write(1, (b'%d ' % i + b'x' * 1022 + b'\\n') * 1024)\n"
        "for i in range(50): os.write(1, b'{' * (1 << 20))\n"
        "os.write(2, b'y' * (1 << 20))\n"
        "os.write(1, b'\\n{\"loss\": 1.5}\\n')\n"
    )
    line = f"{PYTHON} -S {shlex.quote(str(script))} {WD}"
    config = sweep_of(Bench(tmp_path).task(line)).config(0, -2.0)
    outcome = subprocess.run(elsewhere(line, tmp_path, config), capture_output=True, text=True, check=True)
    loss, grown = json.loads(outcome.stdout)
    assert loss == 1.5
    assert (tmp_path / "logs" / f"{config.key}.log").stat().st_size <= LARGEST_LOG + 1024
    assert grown < 16 << 10  # KiB
