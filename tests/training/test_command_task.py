"""Probes that are the user's own command: what is asked of the user, what is compared, and programs of other people."""

import math
import shlex
from pathlib import Path
from typing import Any

import pytest
from command_bench import BASIN, NANOGPT, RUN, TRAINER, WD, Bench, quiet, sweep_of
from conftest import EVERY_SCHEDULE

from adamw_scale.calibration import calibrate
from adamw_scale.errors import MissingInputError, ProbeError, SpecError
from adamw_scale.spec.run import TrainingRun
from adamw_scale.theory import conventions
from adamw_scale.training.tasks.command import CommandTask, with_weight_decay
from adamw_scale.training.tasks.task import TaskSource


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A command in an empty folder."""
    return Bench(tmp_path)


# --- what the user is asked


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"timeout": "0"}, "timeout"),
        ({"timeout": "soon"}, "number of seconds"),
        ({"timeout": "inf"}, "--timeout=inf"),
        ({"timeout": "nan"}, "--timeout=nan"),
        ({"timeout": "30m"}, "--timeout=30m: pass a number of seconds"),
        ({"mode": "best"}, "unknown mode"),
        ({"metrc": "x"}, "no option 'metrc'"),
        ({"full_dataset_size": "-1"}, "full_dataset_size=-1"),
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


@pytest.mark.parametrize("unit", ["samples", "tokens"])
@pytest.mark.parametrize("betas", [(0.9, 0.95), (0.9, 0.999), (0.8, 0.9)])
@pytest.mark.parametrize("fields", EVERY_SCHEDULE.items(), ids=lambda item: item[0])
def test_the_rehearsed_run_is_the_users_in_all_but_weight_decay(
    unit: str, betas: tuple[float, float], fields: tuple[str, dict[str, Any]]
) -> None:
    """Betas that are the default of the other unit stay what they are, and so does every other field."""
    run = TrainingRun(**{**RUN, **fields[1], "unit": unit, "betas": betas, "schedule": fields[0], "width": 64})
    rehearsed = with_weight_decay(run, 0.25)
    assert rehearsed.betas == betas
    assert rehearsed == run.model_copy(update={"weight_decay": 0.25})


def test_betas_of_language_models_reach_a_command_of_samples(bench: Bench) -> None:
    """Betas that are also a default, though not of this unit, are told as they were given."""
    line = bench.script("import sys, json; print(json.dumps({'loss': float(sys.argv[2])}))")
    assert bench.run(f"{line} {{beta2}}", fields={"betas": (0.9, 0.95)}).loss == 0.95
    assert bench.run(f"{line} {{beta2}}").loss == 0.999


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


# --- where it logs


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
