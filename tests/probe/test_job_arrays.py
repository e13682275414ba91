"""Job arrays: plans that any machine trains by index, and the commands around them."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Command

from adamw_scale.calibration import PROBES_FILE, load_calibration
from adamw_scale.errors import CalibrationError, ProbeError, SpecError
from adamw_scale.probe.job_arrays import ProbePlan, load_plan, train_index
from adamw_scale.probe.store import ProbeStore, folder_lock
from adamw_scale.probe.sweep import Sweep
from adamw_scale.training.tasks.task import TaskSource

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def planted_task(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The task "planted" as an installed package declares it, here and in processes that are started."""
    site = tmp_path_factory.mktemp("site")
    package = site / "planted-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: planted\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[adamw_scale.tasks]\nplanted = planted_task:PlantedTask\n")
    monkeypatch.syspath_prepend(str(site))
    root = str(HERE.parents[1])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([root, str(site), str(HERE), os.environ.get("PYTHONPATH", "")]))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A calibration folder."""
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def first_plan(folder: Path, limit: int = 2, jobs: int = 1) -> ProbePlan:
    """The plan of a sweep's first stage."""
    from planted_task import DEFAULTS, PlantedTask

    sweep = Sweep(
        task={"name": "planted"}, run=PlantedTask(TaskSource("planted", folder=str(folder))).default_run(DEFAULTS)
    )
    return ProbePlan.of(sweep.missing({}), TaskSource("planted", folder=str(folder)), lambda run: limit, jobs)


def ignore(news: object) -> None:
    """Hear nothing."""


def trained(folder: Path) -> list[str]:
    """Keys of everything that was ever trained for a folder."""
    return (folder / "trained").read_text().split()


def test_a_plan_comes_back_from_its_file(folder: Path) -> None:
    """Source and configurations, whose keys are the same wherever it is read."""
    plan = first_plan(folder)
    (folder / "plan.json").write_text(plan.to_json())
    again = load_plan(folder / "plan.json")
    assert again == plan
    assert [[c.key for c in cohort] for cohort in again.cohorts] == [[c.key for c in cohort] for cohort in plan.cohorts]
    assert [len(cohort) for cohort in again.cohorts] == [2, 2, 1]


def test_a_plan_keeps_its_name_for_cohorts(folder: Path) -> None:
    """Plans that a scheduler has are read whichever version wrote them."""
    plan = first_plan(folder)
    document = json.loads(plan.to_json())
    assert [len(cohort) for cohort in document["batches"]] == [2, 2, 1]
    assert "cohorts" not in document


@pytest.mark.parametrize(("limit", "jobs", "sizes"), [(16, 1, [5]), (16, 2, [3, 2]), (1, 1, [1] * 5), (2, 9, [1] * 5)])
def test_a_plan_has_as_many_indices_as_asked(folder: Path, limit: int, jobs: int, sizes: list[int]) -> None:
    """At least `jobs`, and no cohort beyond the limit."""
    assert [len(cohort) for cohort in first_plan(folder, limit, jobs).cohorts] == sizes


def test_paths_in_a_plan_are_absolute(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job may start in another folder; a name of data that is no path stays."""
    monkeypatch.chdir(folder.parent)
    (folder / "data.txt").touch()
    missing = list(first_plan(folder).cohorts[0])
    plan = ProbePlan.of(missing, TaskSource("planted", "out/data.txt", {}, "out"), lambda run: 1, 1)
    assert (plan.source.data, plan.source.folder) == (str(folder / "data.txt"), str(folder))
    assert ProbePlan.of(missing, TaskSource("planted", "hub-name"), lambda run: 1, 1).source.data == "hub-name"


def test_an_index_trains_what_is_not_stored(folder: Path) -> None:
    """Its results are in the store when it returns, and it does nothing the second time."""
    plan = first_plan(folder)
    stored = plan.cohorts[0][0]
    with ProbeStore(folder / PROBES_FILE) as store:
        results = train_index(plan, 0, store, ignore)
        assert {r.key for r in results} == {c.key for c in plan.cohorts[0]}
        assert train_index(plan, 0, store, ignore) == []
    with ProbeStore(folder / PROBES_FILE, read_only=True) as store:
        assert stored.key in store.results
        assert len(trained(folder)) == len(store.results) == 2


@pytest.mark.parametrize("index", [-1, 3, 10**30])
def test_an_index_beyond_the_plan_is_refused(folder: Path, index: int) -> None:
    """The message says which there are."""
    with pytest.raises(SpecError, match=r"index .* is not in the plan: pass --index 0 to 2"):
        first_plan(folder).cohort(index)


def test_a_machine_without_the_device_is_refused(folder: Path) -> None:
    """An index that needs a GPU does not train on what it finds instead."""
    plan = first_plan(folder)
    on_gpu = plan.model_copy(
        update={"cohorts": tuple(tuple(c.model_copy(update={"device": "cuda"}) for c in each) for each in plan.cohorts)}
    )
    with ProbeStore(folder / PROBES_FILE) as store, pytest.raises(ProbeError, match="device cuda"):
        train_index(on_gpu, 0, store, ignore)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"schema":"adamw-scale/probe-plan/2"}', b'{"batches":[[{}]]}', b"\xff"], ids=repr
)
def test_what_is_no_plan_is_refused(folder: Path, content: bytes) -> None:
    """One line that says how to get one."""
    (folder / "plan.json").write_bytes(content)
    with pytest.raises(
        CalibrationError, match=r"is no plan of this version .*: write it again with adamw-scale probe plan"
    ):
        load_plan(folder / "plan.json")
    with pytest.raises(CalibrationError, match="no plan at"):
        load_plan(folder / "other.json")


# The commands.


def planned(adamw_scale: Command, folder: Path, *options: str) -> dict[str, Any]:
    """What `probe plan --json` says about the planted task."""
    outcome = adamw_scale(
        "probe",
        "plan",
        "--out",
        str(folder),
        "--task",
        "planted",
        "--seeds",
        "2",
        "--device",
        "cpu",
        "--json",
        *options,
    )
    assert (outcome.code, outcome.err) == (0, "")
    document: dict[str, Any] = json.loads(outcome.out)
    return document


def started(line: str, index: int) -> "subprocess.Popen[str]":
    """What Slurm does with one index of a line: run the wrapped command with the index in its environment."""
    words = shlex.split(line)
    assert words[0] == "sbatch"
    wrapped = words[words.index("--wrap") + 1].replace(
        "adamw-scale", f"{shlex.quote(sys.executable)} -m adamw_scale", 1
    )
    return subprocess.Popen(
        ["/bin/sh", "-c", wrapped],
        env={**os.environ, "SLURM_ARRAY_TASK_ID": str(index)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def stages(adamw_scale: Command, folder: Path, *options: str) -> Iterator[dict[str, Any]]:
    """Plan stage after stage until the sweep is complete."""
    for _ in range(20):
        plan = planned(adamw_scale, folder, *options)
        if plan["complete"]:
            return
        yield plan
    pytest.fail("the sweep does not end")


def test_a_whole_sweep_by_array_jobs(adamw_scale: Command, tmp_path: Path) -> None:
    """Plan and run until it is complete; then calibrate trains nothing and finds the optimum."""
    folder = tmp_path / "it's mine"
    lengths = []
    for plan in stages(adamw_scale, folder):
        jobs = [started(plan["sbatch"], index) for index in plan["indices"]]
        said = [job.communicate(timeout=120)[0] for job in jobs]
        assert [job.returncode for job in jobs] == [0] * len(jobs)
        assert all(
            text.startswith(f"index {index}: trained") for index, text in zip(plan["indices"], said, strict=True)
        )
        lengths.append(len(jobs))
    assert lengths[0] == 3
    assert len(lengths) >= 2
    keys = trained(folder)
    assert len(keys) == len(set(keys)) >= 9
    outcome = adamw_scale("calibrate", "--out", str(folder), "--task", "planted", "--seeds", "2")
    assert outcome.code == 0
    assert trained(folder) == keys
    assert load_calibration(folder).optima[0].timescale_run == pytest.approx(2**-2.4, rel=0.1)


def test_planning_again_keeps_the_numbers_of_what_waits(adamw_scale: Command, folder: Path) -> None:
    """Indices that a scheduler has keep their meaning, until their stage is done or other ones are asked for."""
    first = planned(adamw_scale, folder)
    assert (first["indices"], first["probes"]) == ([0, 1, 2], 5)
    content = (folder / "plan.json").read_bytes()
    assert adamw_scale("probe", "run", "--plan", str(folder / "plan.json"), "--index", "1").code == 0
    again = planned(adamw_scale, folder)
    assert (again["indices"], again["probes"]) == ([0, 2], 3)
    assert "--array=0,2 " in again["sbatch"]
    assert (folder / "plan.json").read_bytes() == content
    assert planned(adamw_scale, folder, "--jobs", "3")["indices"] == [0, 1, 2]
    assert planned(adamw_scale, folder, "--lr", "1e-3")["probes"] == 5


def test_plans_are_explained(adamw_scale: Command, folder: Path) -> None:
    """For people: how many, the line for Slurm, the command for others, and what comes next."""
    options = ("--out", str(folder), "--task", "planted", "--seeds", "2")
    out = adamw_scale("probe", "plan", *options).out
    for text in ("5 probes, 3 indices (0-2)", "sbatch --array=0-2", "--index N", "plan the next stage"):
        assert text in out
    for plan in stages(adamw_scale, folder):
        for index in plan["indices"]:
            adamw_scale("probe", "run", "--plan", str(folder / "plan.json"), "--index", str(index))
    assert "complete. Run adamw-scale calibrate" in adamw_scale("probe", "plan", *options).out


def test_failed_probes_are_planned_and_run_again_on_demand(adamw_scale: Command, folder: Path) -> None:
    """They count as measured, unless they are asked for again."""
    (folder / "broken").touch()
    options = ("--task-option", "broken=-5", "--task-option", "limit=9")
    planned(adamw_scale, folder, *options)
    run = ("probe", "run", "--plan", str(folder / "plan.json"), "--index", "0", "--json")
    outcome = adamw_scale(*run)
    assert outcome.code == 1
    assert [r["status"] for r in json.loads(outcome.out)["results"]].count("failed") == 1
    assert planned(adamw_scale, folder, *options, "--retry-failed")["probes"] == 1
    (folder / "broken").unlink()
    outcome = adamw_scale(*run)
    assert (outcome.code, json.loads(outcome.out)["trained"]) == (0, 1)
    assert len(trained(folder)) == 6


def test_a_folder_that_is_calibrated_is_not_planned(adamw_scale: Command, folder: Path) -> None:
    """Two would train the same probes."""
    with folder_lock(folder):
        outcome = adamw_scale("probe", "plan", "--out", str(folder), "--task", "planted")
    assert outcome.code == 2
    assert "is being calibrated by process" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--plan", "none.json", "--index", "0"], "no plan at 'none.json'"),
        (["plan", "--out", "file", "--task", "planted"], "--out file is a file: pass a folder"),
        (["plan", "--out", "new", "--task", "plantd"], "unknown task 'plantd': did you mean 'planted'?"),
        (["plan", "--task", "planted"], "--out"),
        (["import", "runs.csv", "--out", "new"], "runs.csv"),
        (["import", "file", "--out", "new", "--column", "loss"], "--column 'loss': write it as NAME=VALUE"),
        (["export", "--out", "new", "--csv", "x.csv"], "new has no probes.jsonl"),
        (["export", "--out", "new"], "pass --csv FILE or --optuna URL"),
        (["export", "--out", "new", "--csv", "-", "--json"], "both write to stdout"),
        (["exprot"], "exprot"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_one_line(
    adamw_scale: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    """Exit status 2 and a line on stderr, whatever is wrong."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("lr,weight_decay,loss\n1e-3,0.1,2\n")
    outcome = adamw_scale("probe", *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert message in outcome.err
    assert outcome.err.count("\n") == 1
    assert not (tmp_path / "new").exists()


RUN = ["--samples", "50k", "--batch-size", "128", "--epochs", "4"]
TABLE = "step_size,weight_decay,loss\n1e-3,0.1,2.31\n1e-3,0.2,nan\n1e-3,0,2.5\n"
COLUMN = ["--column", "lr=step_size"]


def test_runs_of_your_own_are_imported_once(adamw_scale: Command, tmp_path: Path) -> None:
    """With the same options, the same rows change nothing; a longer file adds what is new."""
    file, out = tmp_path / "runs.csv", tmp_path / "out"
    file.write_text(TABLE)
    command = ["probe", "import", str(file), "--out", str(out), *RUN, *COLUMN]
    outcome = adamw_scale(*command)
    assert (outcome.code, outcome.out) == (0, "imported 2 trainings (1 diverged); 0 were stored already\n")
    assert "skipped 1 runs without weight decay" in outcome.err
    content = (out / PROBES_FILE).read_bytes()
    file.write_text(TABLE + "1e-3,0.4,2.4\n")
    document = json.loads(adamw_scale(*command, "--json").out)
    assert document == {
        "schema": "adamw-scale/probe-import-report/1",
        "imported": 1,
        "diverged": 0,
        "stored_before": 2,
    }
    assert (out / PROBES_FILE).read_bytes().startswith(content)
    file.write_text(TABLE.replace("2.31", "9"))
    outcome = adamw_scale(*command)
    assert outcome.code == 2
    assert "is stored with loss 2.31, not 9.0" in outcome.err


def test_steps_and_run_files_describe_imported_runs(adamw_scale: Command, tmp_path: Path) -> None:
    """Constants come from a run file as well, and steps may stand beside a column of batches."""
    file, out, run = tmp_path / "runs.csv", tmp_path / "out", tmp_path / "run.toml"
    file.write_text("weight_decay,loss,batch_size\n0.1,2.3,100\n0.1,2.2,200\n")
    run.write_text("lr = 1e-3\nepochs = 2\n")
    assert adamw_scale("probe", "import", str(file), "--out", str(out), "--run", str(run), "--steps", "500").code == 0
    with ProbeStore(out / PROBES_FILE, read_only=True) as store:
        runs = [result.config.run for result in store.results.values()]
    assert [(r.lr, r.epochs, r.dataset_size, r.total_steps) for r in runs] == [
        (1e-3, 2, 25_000, 500),
        (1e-3, 2, 50_000, 500),
    ]


def test_probes_are_exported(adamw_scale: Command, tmp_path: Path) -> None:
    """To a file, to stdout, into a study; from a folder that is only read."""
    file, out = tmp_path / "runs.csv", tmp_path / "out"
    file.write_text(TABLE)
    adamw_scale("probe", "import", str(file), "--out", str(out), *RUN, *COLUMN)
    before = sorted(out.iterdir())
    csv, url = tmp_path / "probes.csv", f"sqlite:///{tmp_path / 'study.db'}"
    outcome = adamw_scale("probe", "export", "--out", str(out), "--csv", str(csv), "--optuna", url)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == f"2 probes in {csv}; 2 trials added to study adamw-scale\n"
    assert adamw_scale("probe", "export", "--out", str(out), "--csv", "-").out == csv.read_text()
    document = json.loads(adamw_scale("probe", "export", "--out", str(out), "--optuna", url, "--json").out)
    assert (document["probes"], document["trials_added"], document["csv"]) == (2, 0, None)
    assert sorted(out.iterdir()) == before
    outcome = adamw_scale("probe", "export", "--out", str(out), "--csv", str(tmp_path))
    assert outcome.code == 2
    assert "is not a file" in outcome.err


def test_columns_cannot_command_a_terminal(adamw_scale: Command, tmp_path: Path) -> None:
    """What a file calls its columns is shown without escape sequences."""
    file = tmp_path / "runs.csv"
    file.write_text("\x1b[31mname,lr,weight_decay,loss\nx,1e-3,0.1,2.3\n")
    outcome = adamw_scale("probe", "import", str(file), "--out", str(tmp_path / "out"), *RUN)
    assert outcome.code == 0
    assert "ignored 1 columns" in outcome.err
    assert "\x1b" not in outcome.err
