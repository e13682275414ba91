"""What a command is told: placeholders, braces, and arguments that no shell ever sees."""

import json
import shlex
import sys
from pathlib import Path

import pytest
from command_bench import PYTHON, RUN, WD, Bench
from hypothesis import given
from hypothesis import strategies as st

from adamw_scale.errors import SpecError
from adamw_scale.spec.run import TrainingRun
from adamw_scale.training.commands.template import PLACEHOLDERS, Probe, Template
from adamw_scale.training.tasks.command import CommandTask
from adamw_scale.training.tasks.task import TaskSource


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A command in an empty folder."""
    return Bench(tmp_path)


EXPECTED = {
    "lr": "0.001",
    "steps": "1562",
    "epochs": "4",
    "warmup_steps": "156",
    "batch_size": "128",
    "seed": "0",
    "width": "64",
    "depth": "3",
    "dataset_size": "50000",
    "dataset_fraction": "0.5",
    "beta1": "0.9",
    "beta2": "0.999",
}


def test_every_placeholder_stands_for_its_value(bench: Bench) -> None:
    """Counts arrive as whole numbers, rates in full precision, paths below the calibration's folder."""
    names = list(PLACEHOLDERS)
    command_line = bench.script("import sys, json; print(json.dumps({'args': sys.argv[2:], 'loss': 1}))")
    result = bench.run(
        f"{command_line} " + " ".join(f"--{name}={{{name}}}" for name in names),
        fields={"width": 64, "depth": 3, "warmup_fraction": 0.1},
        full_dataset_size="100k",
    )
    assert result.status == "done"
    said = json.loads(next(line for line in bench.log.splitlines() if line.startswith(b"{")))
    told = dict(argument.removeprefix("--").split("=", 1) for argument in said["args"])
    assert set(told) == set(PLACEHOLDERS)
    assert {name: told[name] for name in EXPECTED} == EXPECTED
    assert float(told["weight_decay"]) == result.config.run.weight_decay
    assert told["output"] == str(bench.folder / "logs" / f"{result.key}.json")
    assert told["run_dir"] == str(bench.folder / "runs" / result.key)


@given(st.floats(1e-9, 5), st.floats(0.01, 1e4))
def test_numbers_make_the_round_trip(lr: float, epochs: float) -> None:
    """What a program parses is what the run holds, to the last bit; rates look like floats."""
    run = TrainingRun(**{**RUN, "peak_lr": lr, "epochs": max(epochs, 0.01)}, weight_decay=0.3 / 7)
    told = Template("true {lr} {weight_decay} {epochs}").fill(
        Probe(run, run.current_weight_decay, 0, Path(), Path(), None)
    )
    assert [float(text) for text in told[1:]] == [run.lr, 0.3 / 7, run.epochs]
    assert "." in told[1] or "e" in told[1]


def test_a_whole_rate_is_still_a_float() -> None:
    """Programs that tell 1 from 1.0 by type take weight decay 1.0."""
    run = TrainingRun(**RUN)
    assert Template("true {weight_decay} {epochs}").fill(Probe(run, 1.0, 0, Path(), Path(), None))[1:] == [
        "1.0",
        "4",
    ]


def test_literal_braces(bench: Bench) -> None:
    """Doubled braces arrive as one, also around a placeholder, and nothing that was filled in is filled in again."""
    line = bench.script("import sys, json; print(json.dumps({'args': sys.argv[2:], 'loss': 1}))")
    bench.run(line + """ '{{"lr": {lr}, "x": {{}}}}' '{{seed}}'""")
    said = json.loads(bench.log.splitlines()[1])
    assert said["args"] == ['{"lr": 0.001, "x": {}}', "{seed}"]


@pytest.mark.parametrize(
    "argument",
    [
        "; rm -rf canary",
        "$(rm -rf canary)",
        "`rm -rf canary`",
        "| tee canary",
        "> canary",
        "&& rm canary",
        "a\nrm canary",
        'it\'s "quoted"',
        "*",
        "$HOME ~",
        "--flag with spaces",
        "",
        "-c",
        "ünïcode \U0001f680",
    ],
)
def test_no_shell_ever_sees_an_argument(bench: Bench, argument: str) -> None:
    """Whatever an argument holds arrives as one argument, and nothing else happens."""
    canary = bench.folder / "canary"
    canary.write_text("alive")
    line = bench.script("import sys, json; print(json.dumps({'args': sys.argv[2:], 'loss': 1}))")
    assert bench.run(f"{line} {shlex.quote(argument)} end").status == "done"
    said = json.loads(next(row for row in bench.log.splitlines() if row.startswith(b'{"args"')))
    assert said["args"] == [argument, "end"]
    assert canary.read_text() == "alive"


@pytest.mark.parametrize("name", ["a b", "$(touch pwned)", "new\nline", "quo'te\"", "{lr}", "ü"])
def test_values_with_strange_characters_stay_one_argument(tmp_path: Path, name: str) -> None:
    """Folders may be called anything; {output} and {run_dir} arrive as they are."""
    (tmp_path / name).mkdir()
    bench = Bench(tmp_path / name)
    script = tmp_path / "write.py"
    script.write_text("import sys; open(sys.argv[2], 'w').write('{\"loss\": 2.5}'); assert len(sys.argv) == 4\n")
    result = bench.run(f"{PYTHON} -S {shlex.quote(str(script))} {WD} {{output}} {{run_dir}}")
    assert result.loss == 2.5
    assert {path.name for path in tmp_path.iterdir()} == {name, "write.py"}


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("", "needs the command to run"),
        ("   ", "needs the command to run"),
        ("python 'train.py --wd {weight_decay}", "no closing quotation"),
        ("python train.py \\", "no escaped character"),
        ("python train.py", "no {weight_decay}"),
        ("python train.py {weight_decay} {learning_rate}", "unknown placeholder 'learning_rate'"),
        ("python train.py {weight_decay} {LR}", "did you mean 'lr'"),
        ("python train.py {weight_decay:.3f}", "unknown placeholder"),
        ("python train.py {weight_decay!r}", "unknown placeholder"),
        ("python train.py {weight_decay} {}", "unknown placeholder ''"),
        ("python train.py {weight_decay} '{\"a\": 1}'", "write {{ and }}"),
        ("python train.py {weight_decay} {", "stands alone"),
        ("python train.py {weight_decay}}", "stands alone"),
        ("no-such-program-anywhere {weight_decay}", "not a program"),
        ("./no-such-file {weight_decay}", "not a program"),
        ("{run_dir}/program {weight_decay}", "not a program"),
    ],
)
def test_a_template_that_cannot_run_is_refused_beforehand(template: str, says: str) -> None:
    """One line says what is wrong, before anything runs."""
    with pytest.raises(SpecError, match=says) as refusal:
        CommandTask(TaskSource("command", None, {"command": template.replace("python", sys.executable)}))
    assert "\n" not in str(refusal.value)


def test_a_file_that_is_not_executable_is_no_program(tmp_path: Path) -> None:
    """The message says to put an interpreter before it."""
    script = tmp_path / "train.py"
    script.write_text("")
    with pytest.raises(SpecError, match="interpreter"):
        Template(f"{shlex.quote(str(script))} {WD}")
