"""Probes that are the user's own command: what it is told, what it says, how it ends, and that nothing is left of it."""

import json
import math
import os
import re
import shlex
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adamw_scale import conventions
from adamw_scale.calibration import calibrate
from adamw_scale.errors import MissingInputError, ProbeError, SpecError
from adamw_scale.probe.engines.processes import ProcessesEngine
from adamw_scale.probe.plan import ProbeConfig, ProbeResult, Sweep
from adamw_scale.probe.tasks import command
from adamw_scale.probe.tasks.command import PLACEHOLDERS, CommandTask, Printed, Template
from adamw_scale.probe.tasks.task import Progress, TaskSource
from adamw_scale.spec import TrainingRun

SCRIPTS = Path(__file__).parent / "scripts"
PYTHON = shlex.quote(sys.executable)
RUN: dict[str, Any] = {"unit": "samples", "dataset_size": 50_000, "batch_size": 128, "epochs": 4, "peak_lr": 1e-3}
WD = "{weight_decay}"


def sweep_of(task: CommandTask, **fields: Any) -> Sweep:
    """The sweep of a command over a run."""
    run = task.default_run({**RUN, **fields})
    return Sweep(task=task.identity(run), data=task.describe_data(run), run=run)


def quiet(progress: Progress) -> None:
    """Progress that nobody needs."""


class Bench:
    """A folder with a command in it, run as a probe."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config: ProbeConfig | None = None

    def task(self, template: str, **options: str) -> CommandTask:
        """The task of a command template."""
        return CommandTask(TaskSource("command", None, {"command": template, **options}, str(self.folder)))

    def run(
        self,
        template: str,
        listener: Callable[[Progress], None] = quiet,
        *,
        fields: dict[str, Any] | None = None,
        **options: str,
    ) -> ProbeResult:
        """The result of one probe of a command."""
        task = self.task(template, **options)
        self.config = sweep_of(task, **(fields or {})).config(0, -2.0)
        return task.train([self.config], listener)[0]

    def script(self, template: str) -> str:
        """A command that runs a Python script of this text, with the weight decay after it."""
        path = self.folder / "script.py"
        path.write_text(textwrap.dedent(template))
        return f"{PYTHON} -S {shlex.quote(str(path))} {WD}"

    def says(self, *lines: str, status: int = 0) -> ProbeResult:
        """The result of a command that prints these lines and ends with a status."""
        return self.run(self.script(f"print({chr(10).join(lines)!r}); raise SystemExit({status})"))

    @property
    def log(self) -> bytes:
        """The log of the only probe."""
        (path,) = (self.folder / "logs").glob("*.log")
        return path.read_bytes()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A command in an empty folder."""
    return Bench(tmp_path)


def is_running(pid: int) -> bool:
    """Whether a process exists and is more than an entry that its parent has yet to read."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def children() -> set[str]:
    """Ids of this process' children, those too that have ended and were not waited for."""
    listed = (Path(f"/proc/self/task/{thread}/children") for thread in os.listdir("/proc/self/task"))
    return {pid for path in listed if path.exists() for pid in path.read_text().split()}


def eventually(condition: Callable[[], object], seconds: float = 30.0) -> bool:
    """Whether something comes true before the test gives up."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


TRAIN_ELSEWHERE = """
import json, resource, sys
from adamw_scale.probe.tasks.command import CommandTask
from adamw_scale.probe.tasks.task import TaskSource
from adamw_scale.probe.plan import ProbeConfig
task = CommandTask(TaskSource("command", None, {"command": sys.argv[1]}, sys.argv[2]))
memory = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = memory()
(result,) = task.train([ProbeConfig.model_validate_json(sys.argv[3])], lambda news: None)
print(json.dumps([result.loss, memory() - before]))
"""


def elsewhere(template: str, folder: Path, config: ProbeConfig) -> list[str]:
    """Arguments of a process that trains one probe and prints its loss and by how much its own memory grew, in KiB."""
    document = config.model_dump_json(exclude_defaults=True)
    return [sys.executable, "-c", TRAIN_ELSEWHERE, template, str(folder), document]


# --- what the command is told


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
        command.Probe(run, run.current_weight_decay, 0, Path(), Path(), None)
    )
    assert [float(text) for text in told[1:]] == [run.lr, 0.3 / 7, run.epochs]
    assert "." in told[1] or "e" in told[1]


def test_a_whole_rate_is_still_a_float() -> None:
    """Programs that tell 1 from 1.0 by type take weight decay 1.0."""
    run = TrainingRun(**RUN)
    assert Template("true {weight_decay} {epochs}").fill(command.Probe(run, 1.0, 0, Path(), Path(), None))[1:] == [
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


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"timeout": "0"}, "timeout"),
        ({"timeout": "soon"}, "above 0"),
        ({"timeout": "inf"}, "above 0"),
        ({"timeout": "nan"}, "above 0"),
        ({"mode": "best"}, "unknown mode"),
        ({"metrc": "x"}, "no option 'metrc'"),
        ({"full_dataset_size": "-1"}, "above 0"),
    ],
)
def test_options_are_checked(options: dict[str, str], says: str) -> None:
    """A wrong option is one line."""
    with pytest.raises(SpecError, match=says):
        CommandTask(TaskSource("command", None, {"command": f"true {WD}", **options}))


def test_data_belong_into_the_command() -> None:
    """--data would reach nobody."""
    with pytest.raises(SpecError, match="drop it"):
        CommandTask(TaskSource("command", "text.txt", {"command": f"true {WD}"}))


@pytest.mark.parametrize(
    ("template", "fields", "says"),
    [
        (f"true {WD}", {"dataset_size": None}, "--tokens or --samples"),
        (f"true {WD}", {"batch_size": None}, "--batch-size"),
        (f"true {WD}", {"peak_lr": None}, "--lr"),
        (f"true {WD}", {"weight_decay": 0.1}, "drop --weight-decay"),
        (f"true {WD}", {"convention": "torch-adam"}, "L2"),
        (f"true {WD}", {"convention": "composr"}, "did you mean 'composer'"),
        (f"true {WD}", {"convention": "adamc", "weight_decay_schedule": "linear"}, "both say how the decay moves"),
        (f"true {WD} {{width}}", {}, "pass --width"),
        (f"true {WD} {{depth}}", {}, "pass --depth"),
        (f"true {WD} {{dataset_fraction}}", {}, "full_dataset_size"),
    ],
)
def test_a_run_the_command_cannot_make_is_refused(template: str, fields: dict[str, Any], says: str) -> None:
    """Missing values are named with the flag that gives them."""
    task = CommandTask(TaskSource("command", None, {"command": template}))
    with pytest.raises(SpecError, match=says):
        task.default_run({name: value for name, value in {**RUN, **fields}.items() if value is not None})


def test_all_that_is_missing_is_said_at_once() -> None:
    """The first run tells every flag that is needed."""
    with pytest.raises(MissingInputError, match=r"--tokens or --samples, --batch-size, --lr"):
        CommandTask(TaskSource("command", None, {"command": f"true {WD}"})).default_run({})


def test_a_data_set_larger_than_the_whole_is_refused() -> None:
    """A fraction above one is a slip."""
    task = CommandTask(
        TaskSource("command", None, {"command": f"true {WD} {{dataset_fraction}}", "full_dataset_size": "10k"})
    )
    with pytest.raises(SpecError, match="lower --dataset-size"):
        task.default_run(RUN)


def test_what_the_command_does_not_take_is_said() -> None:
    """Without {seed}, {lr} or a length, the command must do the right thing by itself."""

    def says(template: str, **options: str) -> str:
        task = CommandTask(TaskSource("command", None, {"command": template, **options}))
        return task.describe_data(task.default_run(RUN))

    assert "no {seed}" in says(f"true {WD} {{lr}} {{steps}}")
    assert "no {lr}" in says(f"true {WD} {{seed}} {{steps}}")
    assert "neither {steps} nor {epochs}" in says(f"true {WD} {{seed}} {{lr}}")
    complete = says(f"true {WD} {{seed}} {{lr}} {{epochs}}")
    assert "it has" not in complete
    assert "1,562 steps of 128 samples" in complete
    assert "maximised" in says(f"true {WD}", mode="max")


# --- the unit of its weight decay


@pytest.mark.parametrize(
    "convention",
    sorted(name for name, entry in conventions.CONVENTIONS.items() if entry.kind != conventions.L2),
)
def test_weight_decay_is_in_the_scripts_own_unit(tmp_path: Path, convention: str) -> None:
    """Taken back from the script's convention, it is the probe's PyTorch value."""
    task = CommandTask(TaskSource("command", None, {"command": f"true {WD}", "convention": convention}, str(tmp_path)))
    config = sweep_of(task, schedule="cosine", warmup_fraction=0.05).config(0, -2.0)
    probe = task._probe(config.run, config.task["convention"], 0, tmp_path, config.key)
    back = TrainingRun(
        **{
            **RUN,
            "schedule": "cosine",
            "warmup_fraction": 0.05,
            "weight_decay": probe.weight_decay,
            "convention": convention,
        }
    )
    assert back.current_weight_decay == pytest.approx(config.run.current_weight_decay, rel=1e-12)


def test_an_independent_script_receives_lr_times_weight_decay(bench: Bench) -> None:
    """composer and others take what one step removes at peak."""
    line = bench.script("import sys; print('{\"loss\": %s}' % sys.argv[1])")
    plain, independent = (bench.run(line, convention=name).loss for name in ("pytorch", "composer"))
    assert plain is not None
    assert independent == pytest.approx(1e-3 * plain, rel=1e-12)


def test_the_convention_may_come_with_the_run(bench: Bench) -> None:
    """--convention as a field of the run or as an option is one thing; two different ones are refused."""
    by_field = bench.task(f"true {WD}")
    by_option = bench.task(f"true {WD}", convention="composer")
    assert sweep_of(by_field, convention="composer") == sweep_of(by_option)
    assert sweep_of(by_field, convention="composer").config(0, -2.0).task["convention"] == "composer"
    with pytest.raises(SpecError, match="given twice"):
        by_option.default_run({**RUN, "convention": "pytorch"})


def test_own_betas_schedule_and_parametrization_are_left_to_the_script(bench: Bench) -> None:
    """Every schedule is allowed: the run describes what the script does."""
    for fields in (
        {"schedule": "wsd", "decay_fraction": 0.2, "warmup_steps": 100},
        {"schedule": "step", "milestones": (0.5,), "step_factor": 0.1},
        {"weight_decay_schedule": "cosine"},
        {"parametrization": "mup", "width": 64, "base_width": 32},
    ):
        assert sweep_of(bench.task(f"true {WD}"), **fields).config(0, -2.0).run.weight_decay


# --- what it is


def test_identity_follows_command_reading_and_files(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An edited script, another template, metric or unit make other probes; the timeout does not."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pack").mkdir()
    for name in ("train.py", "conf.yaml", "pack/run.py"):
        (tmp_path / name).write_text("one")
    template = f"python {{}}train.py --config=conf.yaml {WD}".replace("{}", "")
    run = bench.task(template).default_run(RUN)
    first = bench.task(template).identity(run)
    assert {"file train.py", "file conf.yaml"} <= set(first)
    assert bench.task(f"  python   'train.py' --config=conf.yaml {WD}").identity(run) == first
    assert bench.task(template, timeout="5").identity(run) == first
    assert "file pack/run.py" in bench.task(f"python -m pack.run {WD}").identity(run)
    others = [
        bench.task(template + " --more").identity(run),
        bench.task(template, metric="acc").identity(run),
        bench.task(template, mode="max").identity(run),
        bench.task(template).identity(run.model_copy(update={"convention": "composer"})),
    ]
    (tmp_path / "conf.yaml").write_text("two")
    others.append(bench.task(template).identity(run))
    assert all(other != first for other in others)


def test_a_script_edited_between_probes_stops_the_calibration(bench: Bench) -> None:
    """Old and new losses are not mixed: the error names the file."""
    task = bench.task(bench.script("print('{\"loss\": 1}')"))
    configs = [sweep_of(task).config(seed, -2.0) for seed in (0, 1)]
    assert task.train(configs[:1], quiet)[0].status == "done"
    bench.script("print('{\"loss\": 2}')")
    with pytest.raises(ProbeError, match=r"script\.py.*planned with"):
        task.train(configs[1:], quiet)


def test_large_files_are_known_by_size(bench: Bench, tmp_path: Path) -> None:
    """A data set among the arguments is not read."""
    data = tmp_path / "data.bin"
    with data.open("wb") as file:
        file.truncate(1 << 40)
    identity = bench.task(f"true {WD} {shlex.quote(str(data))}").identity(TrainingRun(**RUN))
    assert identity[f"file {data}"] == f"{1 << 40} bytes"


# --- what it says


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
        (["{'eval_loss': 3.2}"], r"json\.dumps"),
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
    assert len(heard) == len(printed.curve) == command.CURVE_POINTS + 1
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
    assert (tmp_path / "logs" / f"{config.key}.log").stat().st_size > 100 << 20
    assert grown < 16 << 10  # KiB


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
        ("raise RuntimeError('boom')", r"exit status 1; .*ends: RuntimeError: boom"),
        ("print('{\"loss\": 1.5}'); raise SystemExit('late')", r"exit status 1; .*ends: late"),
        ("import os; os.kill(os.getpid(), 9)", "killed by SIGKILL, perhaps for want of memory"),
        ("import os; os.kill(os.getpid(), 11)", "killed by SIGSEGV"),
        ("print('a\\x1b[31mred\\x07 line'); raise SystemExit(1)", r"a\?\[31mred\? line"),
    ],
)
def test_a_command_that_fails(bench: Bench, body: str, says: str) -> None:
    """Status or signal, the log's name and its last line, on one printable line."""
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
    monkeypatch.setattr(command, "GRACE_SECONDS", 0.5)
    line, pids = stubborn(bench, ignore=ignore)
    result = bench.run(line, timeout="1.5")
    assert result.status == "failed"
    assert "longer than --timeout 1.5" in str(result.reason)
    assert result.curve == ((1, 3.5),)
    assert eventually(lambda: not any(is_running(pid) for pid in pids()))


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


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    """A file where the logs should go is an error that names the folder."""
    (tmp_path / "logs").write_text("")
    with pytest.raises(ProbeError, match="Pass a folder that can be written"):
        Bench(tmp_path).run(f"true {WD}")


def test_without_a_folder_there_is_nowhere_to_log() -> None:
    """A source without the calibration's folder can plan, not train."""
    task = CommandTask(TaskSource("command", None, {"command": f"true {WD}"}))
    with pytest.raises(ProbeError, match="folder"):
        task.train([sweep_of(task).config(0, -2.0)], quiet)


# --- programs of other people


@pytest.fixture
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scripts that would take every core take one."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


BASIN = f"sh {shlex.quote(str(SCRIPTS / 'basin.sh'))} {{lr}} {{weight_decay}} {{steps}} {{seed}}"
NANOGPT = (
    f"{PYTHON} {shlex.quote(str(SCRIPTS / 'nanogpt_train.py'))} --learning_rate={{lr}} --weight_decay={{weight_decay}} "
    "--max_iters={steps} --warmup_iters={warmup_steps} --beta1={beta1} --beta2={beta2} --seed={seed} --device=cpu "
    "--compile=False --batch_size=8 --block_size=32"
)
TRAINER = (
    f"{PYTHON} {shlex.quote(str(SCRIPTS / 'hf_train.py'))} --learning_rate {{lr}} --weight_decay {{weight_decay}} "
    "--max_steps {steps} --warmup_steps {warmup_steps} --seed {seed} --output_dir {run_dir} "
    "--per_device_train_batch_size 8"
)
TEXT = {"unit": "tokens", "dataset_size": 8192, "batch_size": 256, "peak_lr": 2e-3, "num_params": 34_000}


def test_a_program_in_awk(bench: Bench) -> None:
    """A shell script's basin is what it printed, to the last digit."""
    result = bench.run(BASIN)
    assert result.status == "done"
    assert result.metrics["octaves"] == pytest.approx(result.config.log2_tau, abs=2e-3)  # steps are whole
    assert [step for step, _ in result.curve] == [390, 781, 1171, 1562]


def test_a_calibration_of_a_program_in_awk(tmp_path: Path) -> None:
    """The planted optimum, a timescale of 2^-2.4 of the run, is located."""
    result = calibrate(tmp_path, "command", task_options={"command": BASIN}, run={**RUN, "epochs": 20}, engine="serial")
    (optimum,) = result.optima
    assert optimum.status == "located"
    assert math.log2(optimum.timescale_run) == pytest.approx(-2.4, abs=0.35)
    assert result.task["command_sha256"]


@pytest.mark.slow
def test_a_nanogpt_script(bench: Bench, one_thread: None) -> None:
    """nanoGPT's command line and its typed overrides are met; the held-out loss is learnt, and depends on the decay."""
    task = bench.task(NANOGPT)
    sweep = sweep_of(task, **TEXT, epochs=8, schedule="cosine", warmup_fraction=0.1, betas=(0.9, 0.95))
    losses = {x: task.train([sweep.config(0, x)], quiet)[0].loss for x in (-3.0, 0.0)}
    assert all(loss is not None and loss < 0.7 * math.log(256) for loss in losses.values())
    assert losses[-3.0] != losses[0.0]
    again = task.train([sweep.config(0, 0.0)], quiet)[0]
    assert again.loss == losses[0.0]


@pytest.mark.slow
def test_a_hugging_face_trainer(bench: Bench, one_thread: None) -> None:
    """evaluate()'s metrics, printed as JSON, are the result; the dicts that Trainer prints itself are not read."""
    result = bench.run(TRAINER, fields={**TEXT, "epochs": 2, "warmup_fraction": 0.1, "betas": (0.9, 0.999)})
    assert result.status == "done", result.reason
    assert result.loss is not None
    assert 2 < result.loss < math.log(256)
    assert {"eval_loss", "eval_runtime", "epoch"} <= set(result.metrics)
    assert b"{'loss'" in bench.log
