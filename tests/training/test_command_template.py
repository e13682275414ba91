"""What a command is told: placeholders, braces, and arguments that no shell ever sees."""

import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from command_bench import PYTHON, RUN, WD, Bench, quiet, sweep_of
from hypothesis import given
from hypothesis import strategies as st

from adamw_scale.errors import ProbeError, SpecError
from adamw_scale.spec.run import TrainingRun
from adamw_scale.training.commands.template import PLACEHOLDERS, Probe, Template, TemplateFile
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
    names = [name for name in PLACEHOLDERS if name != "template"]
    command_line = bench.script("import sys, json; print(json.dumps({'args': sys.argv[2:], 'loss': 1}))")
    result = bench.run(
        f"{command_line} " + " ".join(f"--{name}={{{name}}}" for name in names),
        fields={"width": 64, "depth": 3, "warmup_fraction": 0.1},
        full_dataset_size="100k",
    )
    assert result.status == "done"
    said = json.loads(next(line for line in bench.log.splitlines() if line.startswith(b"{")))
    told = dict(argument.removeprefix("--").split("=", 1) for argument in said["args"])
    assert set(told) == set(names)
    assert {name: told[name] for name in EXPECTED} == EXPECTED
    assert float(told["weight_decay"]) == result.config.run.weight_decay
    assert told["output"] == str(bench.folder / "logs" / f"{result.key}.json")
    assert told["run_dir"] == str(bench.folder / "runs" / result.key)


@given(st.floats(1e-9, 5), st.floats(0.01, 1e4))
def test_numbers_make_the_round_trip(lr: float, epochs: float) -> None:
    """What a program parses is what the run holds, to the last bit; rates look like floats."""
    run = TrainingRun(**{**RUN, "peak_lr": lr, "epochs": max(epochs, 0.01)}, weight_decay=0.3 / 7)
    told = Template("true {lr} {weight_decay} {epochs}").fill(
        Probe(run, run.current_weight_decay, 0, Path(), Path(), Path(), None)
    )
    assert [float(text) for text in told[1:]] == [run.lr, 0.3 / 7, run.epochs]
    assert "." in told[1] or "e" in told[1]


def test_a_whole_rate_is_still_a_float() -> None:
    """Programs that tell 1 from 1.0 by type take weight decay 1.0."""
    run = TrainingRun(**RUN)
    assert Template("true {weight_decay} {epochs}").fill(Probe(run, 1.0, 0, Path(), Path(), Path(), None))[1:] == [
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
        ("python train.py {weight_decay} {template}", "pass --template FILE"),
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


# --- a file with placeholders

KEPT = [
    b'{"a": {}, "b": {"c": [1, 2]}, "lr": ${lr}, "x": {{lr}}}',
    b"lr: ${oc.env:LR}\nhydra: {run: {dir: .}}\nseed: ${seed} # {learning_rate} {LR} {lr:.3f} { lr } {}\n",
    b"\xef\xbb\xbfa: 1\r\nb: 2\r\rc: \xc3\xbc",
    b"",
]


def read_back(bench: Bench, content: bytes, name: str = "config.yaml", **fields: Any) -> bytes:
    """What a probe's own copy of a file holds, as its command sees it."""
    (bench.folder / name).write_bytes(content)
    command = bench.script(
        "import os, shutil, sys; shutil.copy(sys.argv[2], sys.argv[2] + '.seen'); print('{\"loss\": 1}')"
    )
    result = bench.run(f"{command} {{template}}", template=str(bench.folder / name), fields=fields)
    assert result.status == "done", result.reason
    copy = bench.folder / "templates" / result.key / name
    assert copy.read_bytes() == copy.with_name(f"{name}.seen").read_bytes()
    return copy.read_bytes()


@pytest.mark.parametrize("content", KEPT)
def test_what_is_no_placeholder_stays_as_it_is(bench: Bench, content: bytes) -> None:
    """Braces of JSON, YAML, OmegaConf, Jinja and Python, line ends and byte order mark, byte for byte."""
    assert read_back(bench, content) == content


def test_every_placeholder_in_a_file(bench: Bench) -> None:
    """The same values as in the command, as numbers that JSON, YAML and TOML read as such."""
    names = [name for name in EXPECTED if name not in ("dataset_fraction", "width", "depth")]
    text = "{" + ", ".join(f'"{name}": {{{name}}}' for name in [*names, "weight_decay"]) + "}"
    told = json.loads(filled := read_back(bench, text.encode(), peak_lr="1e-5", warmup_fraction=0.1))
    expected = {**{name: float(value) for name, value in EXPECTED.items() if name in names}, "lr": 1e-5}
    assert {name: told[name] for name in names} == expected
    assert bench.config is not None
    assert told["weight_decay"] == bench.config.run.weight_decay
    assert yaml.safe_load(filled) == told  # to YAML 1.1, 1e-05 is a word


def test_a_file_is_in_the_programs_own_unit(bench: Bench) -> None:
    """The convention counts there as in the command, which need not have the weight decay again."""
    (bench.folder / "c.json").write_text('{"wd": {weight_decay}}')
    script = bench.folder / "read.py"
    script.write_text("import json, sys; print(json.dumps({'loss': json.load(open(sys.argv[1]))['wd']}))")
    line, file = f"{PYTHON} -S {shlex.quote(str(script))} {{template}}", str(bench.folder / "c.json")
    plain, independent = (bench.run(line, template=file, convention=name).loss for name in ("pytorch", "composer"))
    assert plain is not None
    assert independent == pytest.approx(1e-3 * plain, rel=1e-12)


def test_a_changed_template_makes_other_probes(bench: Bench) -> None:
    """As a changed script does; and a command without one has the identity that it always had."""
    file = bench.folder / "c.yaml"
    line = "true {weight_decay} {template}"

    def key() -> str:
        return sweep_of(bench.task(line, template=str(file))).config(0, -2.0).key

    file.write_text("a: {lr}")
    first = key()
    assert key() == first
    file.write_text("a: {lr} ")
    assert key() != first
    task = bench.task("true {weight_decay}")
    assert not [name for name in task.identity(task.default_run(RUN)) if "template" in name]


def test_a_template_that_was_changed_meanwhile_is_not_trained(bench: Bench) -> None:
    """A worker that finds another file than the one planned with says so."""
    file = bench.folder / "c.yaml"
    file.write_text("a: {lr}")
    config = sweep_of(bench.task("true {weight_decay} {template}", template=str(file))).config(0, -2.0)
    file.write_text("a: {lr}\nb: 1")
    with pytest.raises(ProbeError, match=r"template c\.yaml.*plans anew"):
        bench.task("true {weight_decay} {template}", template=str(file)).train([config], quiet)


@pytest.mark.parametrize(
    ("content", "command", "says"),
    [
        (b"wd: {wd}", "true {template}", "c.yaml has no placeholder: write {weight_decay}"),
        (b"wd: ${weight_decay} {{weight_decay}}", "true {template}", "left as they are"),
        (b"wd: {weight_decay}", "true", "does not read c.yaml: write {template}"),
        (b"wd: {weight_decay}", "true {weight_decay}", "does not read c.yaml"),
        (b"wd: {weight_decay}\0", "true {template}", "c.yaml: a binary file"),
        (b"wd: {weight_decay} \xff", "true {template}", "c.yaml: not UTF-8"),
        (b"wd: {weight_decay}" + b" " * 1_000_000, "true {template}", "c.yaml: larger than"),
        (None, "true {template}", "No such file"),
    ],
)
def test_a_file_that_cannot_be_a_template(tmp_path: Path, content: bytes | None, command: str, says: str) -> None:
    """One line that names the flag and what to do."""
    file = tmp_path / "c.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SpecError, match=re.escape(says)) as refusal:
        CommandTask(TaskSource("command", None, {"command": command, "template": str(file)}))
    assert re.search(r"--template|--command", str(refusal.value))
    assert "\n" not in str(refusal.value)


def test_a_placeholder_of_a_file_that_the_run_lacks(bench: Bench) -> None:
    """Is asked for before anything runs, as one in the command is."""
    (bench.folder / "c.yaml").write_text("wd: {weight_decay}\nwidth: {width}")
    with pytest.raises(SpecError, match="pass --width"):
        bench.task("true {template}", template=str(bench.folder / "c.yaml")).default_run(RUN)


def test_standard_input_is_no_template() -> None:
    """Workers elsewhere could not read it again."""
    with pytest.raises(SpecError, match="Pass its path"):
        TemplateFile("-")
