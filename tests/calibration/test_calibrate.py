"""calibrate(): from probes to a calibration, and what survives an interruption."""

import json
import math
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from conftest import Command, PlantedEngine

from adamw_scale import TrainingRun, calibrate, recommend
from adamw_scale.advisor.answers import SOFT
from adamw_scale.calibration import CALIBRATION_FILE, COMMAND_FILE, PROBES_FILE, Watcher, load_calibration, remedy
from adamw_scale.errors import CalibrationError, MissingExtraError, SpecError
from adamw_scale.files import write_atomically
from adamw_scale.probe.engines.engine import Cohort
from adamw_scale.spec.measurement import ProbeResult
from adamw_scale.training.tasks.task import Listener

TOY = ["--dataset-size", "4096", "--epochs", "8", "--seeds", "2"]


def test_a_planted_optimum_is_located(tmp_path: Path, planted: type[PlantedEngine]) -> None:
    """The whole path with an engine that trains nothing: located, within a fifth of an octave, fitted, written."""
    calibration = calibrate(tmp_path, engine=planted)
    optimum = calibration.optima[0]
    assert optimum.status == "located"
    assert optimum.timescale_run == pytest.approx(2**planted.minimum, rel=0.15)
    low, high = optimum.log2_interval
    assert low < planted.minimum < high
    assert calibration.located
    assert calibration.probes["count"] == len(planted.trained) >= 9
    assert load_calibration(tmp_path) == calibration
    advice = recommend(optimum.run, calibration=calibration)
    assert advice.timescale.run == pytest.approx(optimum.timescale_run, rel=0.05)
    assert advice.weight_decay_range[0] < optimum.weight_decay < advice.weight_decay_range[1]


def test_a_flat_basin_is_flat(tmp_path: Path, planted: type[PlantedEngine]) -> None:
    """Noise without a basin locates nothing, and the law answers."""
    planted.depth = 0.0
    calibration = calibrate(tmp_path, engine=planted)
    assert calibration.optima[0].status in {"flat", "edge"}
    assert not calibration.located
    run = calibration.optima[0].run
    assert recommend(run, calibration=calibration).rule == recommend(run).rule == "law"


@pytest.mark.parametrize(
    ("minimum", "stable", "why", "fix"),
    [
        (9.0, (-99.0, 99.0), "longest timescale probed was best (16 times the run", "longer on fewer data"),
        (-9.0, (-99.0, 99.0), "shortest timescale probed was best (1.6 % of the run", "fewer steps"),
        (-2.4, (-2.5, 99.0), "best near the shortest timescale that did not diverge", "lower --lr"),
        (1.0, (1.2, 99.0), "best near the shortest timescale that did not diverge", "lower --lr"),
        (-2.4, (-99.0, -2.5), "best near the longest timescale that did not diverge", "lower --lr"),
    ],
)
def test_an_optimum_at_an_edge_says_at_which(
    minimum: float, stable: tuple[float, float], why: str, fix: str, tmp_path: Path
) -> None:
    """Beyond what may be probed on either side, or where the probes beyond it diverge: each with its own remedy."""

    class Edge(PlantedEngine):
        def loss(self, x: float, seed: int) -> float:
            return super().loss(x, seed) if stable[0] < x < stable[1] else math.inf

    Edge.minimum = minimum
    calibration = calibrate(tmp_path, engine=Edge)
    assert calibration.optima[0].status == "edge"
    assert not calibration.located
    said = remedy(load_calibration(tmp_path).optima[0])
    assert why in said.why
    assert fix in said.fix


def test_all_probes_diverged_is_an_answer(tmp_path: Path, planted: type[PlantedEngine]) -> None:
    """A loss that is nowhere a number locates nothing, and says so in the file."""
    planted.depth = math.inf
    calibration = calibrate(tmp_path, engine=planted)
    assert calibration.optima[0].status == "flat"
    assert calibration.optima[0].loss is None
    assert calibration.probes["diverged"] == calibration.probes["count"] == 5  # more seeds would tell nothing more
    assert load_calibration(tmp_path) == calibration


def test_replacing_the_calibration_of_another_run_is_said(tmp_path: Path, planted: type[PlantedEngine]) -> None:
    """A second sweep in a folder keeps the probes of the first, and says that its calibration goes."""
    notices: list[str] = []
    calibrate(tmp_path, engine=planted)
    calibrate(tmp_path, engine=planted, watcher=Watcher(notice=notices.append))
    assert not any("replaced" in notice for notice in notices)
    calibrate(tmp_path, engine=planted, run={"peak_lr": 1e-3}, watcher=Watcher(notice=notices.append))
    assert any("replaced" in notice for notice in notices)


class CrashError(Exception):
    """Stands for whatever ends a process."""


@pytest.mark.parametrize("minimum", [-2.4, -2.7, -1.3])
def test_resumes_where_it_was(tmp_path: Path, planted: type[PlantedEngine], minimum: float) -> None:
    """Ended after every possible number of probes, the rest gives the same file and runs nothing twice."""
    planted.minimum = minimum
    calibrate(tmp_path / "whole", engine=planted)
    whole = (tmp_path / "whole" / CALIBRATION_FILE).read_bytes()
    total = len(planted.trained)

    for stop in range(1, total):

        class Ended(planted):  # type: ignore[valid-type, misc]
            trained: ClassVar[list[str]] = []
            left: ClassVar[int] = stop

            def run(self, cohorts: Sequence[Cohort], listener: Listener) -> Iterator[list[ProbeResult]]:
                for results in super().run([[config] for cohort in cohorts for config in cohort], listener):
                    if type(self).left == 0:
                        raise CrashError
                    type(self).left -= 1
                    yield results

        planted.trained.clear()
        with pytest.raises(CrashError):
            calibrate(tmp_path / str(stop), engine=Ended)
        assert not (tmp_path / str(stop) / CALIBRATION_FILE).exists()
        calibrate(tmp_path / str(stop), engine=planted)
        assert len(planted.trained) == total - stop
        assert (tmp_path / str(stop) / CALIBRATION_FILE).read_bytes() == whole


def test_a_folder_may_hold_other_sweeps(tmp_path: Path, planted: type[PlantedEngine]) -> None:
    """Probes of another learning rate in the same folder are neither used nor counted."""
    alone = calibrate(tmp_path / "alone", engine=planted)
    calibrate(tmp_path / "shared", engine=planted, run={"peak_lr": 1e-3})
    assert calibrate(tmp_path / "shared", engine=planted) == alone


def test_watcher_hears_everything(tmp_path: Path, planted: type[PlantedEngine]) -> None:
    """Stages, progress and results are told as they happen."""
    heard: list[str] = []
    watcher = Watcher(
        stage=lambda configs, done, likely: heard.append(f"stage {len(configs)} {done} {likely}"),
        progress=lambda progress: heard.append("progress"),
        result=lambda result: heard.append("result"),
    )
    calibrate(tmp_path, engine=planted, watcher=watcher)
    assert heard[0] == "stage 5 0 19"
    assert heard.count("progress") == heard.count("result") == len(planted.trained)


def test_a_calibration_is_written_whole_or_not(tmp_path: Path) -> None:
    """An interrupted write leaves the old file and no debris."""
    file = tmp_path / CALIBRATION_FILE
    write_atomically(file, "old")
    with pytest.raises(TypeError):
        write_atomically(file, 3)  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == [CALIBRATION_FILE]
    assert file.read_text() == "old"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not a calibration"),
        (b"\xff\xfe", "not a calibration"),
        (b"{}", "not a calibration"),
        (b'{"schema": "adamw-scale/calibration/3"}', "written by a newer version"),
        (b"[" * 100_000, "not a calibration"),
    ],
    ids=["empty", "binary", "no fields", "other version", "nested"],
)
def test_what_is_no_calibration_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    """One line for anything that calibrate did not write."""
    file = tmp_path / "calibration.json"
    file.write_bytes(content)
    with pytest.raises(CalibrationError, match=says) as error:
        load_calibration(file)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 600


@pytest.mark.parametrize(
    ("run", "says"),
    [
        ({"unit": "samples"}, "unit 'tokens' only"),
        ({"weight_decay": 0.1}, "weight_decay"),
        ({"num_params": 1e6}, "num_params"),
        ({"width": 40}, "--width"),
        ({"batch_size": 250}, "--batch-size"),
        ({"dataset_size": "1T"}, "--dataset-size"),
        ({"task": "finetuning"}, "task 'pretraining' only"),
    ],
    ids=str,
)
def test_runs_the_task_cannot_train(tmp_path: Path, run: dict[str, object], says: str) -> None:
    """What char-lm does not do is refused before anything is started."""
    with pytest.raises(SpecError, match=says):
        calibrate(tmp_path, run=run)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"trackers": ["tensorbord"]}, "unknown tracker 'tensorbord'"),
        ({"engine_options": {"colour": "red"}}, "no option 'colour'"),
        ({"validate": {"wdth": 2}}, "unknown axis 'wdth'"),
    ],
    ids=["tracker", "engine option", "axis"],
)
def test_what_cannot_work_makes_no_folder(tmp_path: Path, wrong: dict[str, Any], says: str) -> None:
    """It is refused before anything is written or trained."""
    with pytest.raises(SpecError, match=says):
        calibrate(tmp_path / "out", **wrong)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_tracker_makes_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its extra is named before anything is written or trained."""
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(MissingExtraError, match=r"adamw-scale\[tensorboard\]"):
        calibrate(tmp_path / "out", trackers=["tensorboard"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["calibrate", "recommend", "timescale"])
@pytest.mark.parametrize("plot", ["nodir/x.svg", "folder.svg"])
def test_a_picture_that_cannot_be_written_is_refused_first(
    tmp_path: Path, adamw_scale: Command, monkeypatch: pytest.MonkeyPatch, command: str, plot: str
) -> None:
    """Before any training, and before any answer."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.svg").mkdir()
    run = {"calibrate": ["--out", "out"], "timescale": ["--steps", "100", "--lr", "1e-3", "--weight-decay", "0.1"]}
    outcome = adamw_scale(command, *run.get(command, []), "--plot", plot)
    assert (outcome.code, outcome.out) == (2, "")
    assert f"--plot '{plot}': " in outcome.err
    assert [path.name for path in tmp_path.iterdir()] == ["folder.svg"]


def test_a_picture_may_go_into_the_folder_that_calibrate_makes(tmp_path: Path, adamw_scale: Command) -> None:
    """Which is not there yet; what was typed is kept beside it for the report."""
    out, loss = tmp_path / "out", "2 + math.log(1000 * {lr} * {weight_decay}) ** 2 / 100"
    script = f"python -c 'import json, math; print(json.dumps(dict(loss={loss})))'".replace("python", sys.executable)
    run = ["--samples", "100k", "--batch-size", "100", "--epochs", "4", "--lr", "1e-3", "--seeds", "2"]
    outcome = adamw_scale("calibrate", "--out", str(out), "--plot", str(out / "x.svg"), "--command", script, *run)
    assert outcome.code == 0, outcome.err
    assert (out / "x.svg").is_file()
    assert (out / COMMAND_FILE).read_text().startswith("adamw-scale calibrate --out ")


def _command(out: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "adamw_scale", "calibrate", "--out", str(out), *TOY, *more]


def _workers(parent: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[1]) == parent:
                found.append(int(entry.name))
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_sigkill_in_the_middle(tmp_path: Path) -> None:
    """Killed with SIGKILL twice: the bytes of an undisturbed calibration, nothing stored runs again, no orphans."""
    whole = subprocess.run(_command(tmp_path / "whole", "--json"), capture_output=True, check=False)
    assert whole.returncode in (0, 1), whole.stderr.decode()
    expected = (tmp_path / "whole" / CALIBRATION_FILE).read_bytes()
    assert json.loads(whole.stdout) == json.loads(expected)

    store = tmp_path / "killed" / PROBES_FILE
    for enough in (2, 6):
        process = subprocess.Popen(_command(tmp_path / "killed"), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 240
        while not (store.exists() and store.read_bytes().count(b"\n") >= enough):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        workers = _workers(process.pid)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert workers
        while any(Path(f"/proc/{worker}").exists() for worker in workers):
            assert time.monotonic() < deadline, "a worker outlived its parent"
            time.sleep(0.05)
    before = store.read_bytes()
    with store.open("ab") as file:
        file.write(b'{"schema":"adamw-scale/probe/1","key":"to')

    final = subprocess.run(_command(tmp_path / "killed"), capture_output=True, text=True, check=False)
    assert final.returncode == whole.returncode
    assert "is torn or no JSON; skipped" in final.stderr
    assert (tmp_path / "killed" / CALIBRATION_FILE).read_bytes() == expected
    assert store.read_bytes().startswith(before)
    keys = [json.loads(line)["key"] for line in store.read_text().splitlines() if line.endswith("}")]
    assert len(keys) == len(set(keys))
    assert set(keys) == {
        json.loads(line)["key"] for line in (tmp_path / "whole" / PROBES_FILE).read_text().splitlines()
    }


def test_an_optimum_that_is_not_there_is_status_1(tmp_path: Path, adamw_scale: Command) -> None:
    """Three epochs of 4 KiB want no decay: the answer is 'edge', with what to make of it, and a bound on advice."""
    outcome = adamw_scale(
        "calibrate", "--out", str(tmp_path), "--dataset-size", "4096", "--epochs", "3", "--seeds", "2", "--jobs", "2"
    )
    assert outcome.code == 1
    assert "optimum edge" in outcome.out
    assert "here decay only costs" in outcome.err
    (optimum,) = load_calibration(tmp_path).optima
    run = tmp_path / "run.json"
    run.write_text(optimum.run.to_json())
    bounded, law = (
        json.loads(adamw_scale("recommend", *words, "--json").out)
        for words in (["--calibration", str(tmp_path)], ["--run", str(run)])
    )
    assert law["timescale"]["run"] < bounded["timescale"]["run"]
    assert optimum.log2_interval[0] - 2 * SOFT < math.log2(bounded["timescale"]["run"])


def test_goes_on_when_nobody_reads_the_progress(tmp_path: Path) -> None:
    """A closed stderr ends the progress, not the calibration."""
    words = " ".join(_command(tmp_path / "unread", "--json"))
    outcome = subprocess.run(["bash", "-c", f"({words}) 2> >(true)"], capture_output=True, text=True, check=False)
    assert json.loads(outcome.stdout) == json.loads((tmp_path / "unread" / CALIBRATION_FILE).read_text())


@pytest.mark.slow
def test_the_default_calibration_locates_its_optimum(tmp_path: Path, adamw_scale: Command) -> None:
    """No options: a small GPT on the standard library, an optimum between a 20th and half of the run, then advice."""
    outcome = adamw_scale("calibrate", "--out", str(tmp_path), "--json")
    assert outcome.code == 0, outcome.err
    document = json.loads(outcome.out)
    optimum = document["optima"][0]
    assert document["schema"] == "adamw-scale/calibration/2"
    assert document["probes"]["count"] >= 9
    assert optimum["status"] == "located"
    assert 0.05 < optimum["timescale_run"] < 0.5
    low, high = optimum["log2_interval"]
    assert high - low < 1

    advice = adamw_scale("recommend", "--calibration", str(tmp_path / CALIBRATION_FILE), "--json")
    assert json.loads(advice.out)["timescale"]["run"] == pytest.approx(optimum["timescale_run"], rel=0.1)
    run = TrainingRun.model_validate(optimum["run"])
    assert json.loads(advice.out)["weight_decay"] == pytest.approx(
        1 / (run.peak_lr * json.loads(advice.out)["timescale"]["run"] * run.total_steps)
    )
