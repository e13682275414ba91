"""Trackers: what they write is read back with the libraries' own readers; what fails in them costs no probe."""

import io
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import pytest
from conftest import Command, PlantedEngine
from writers import RUN, result

from adamw_scale import calibrate
from adamw_scale.errors import CalibrationError, MissingExtraError, UnknownNameError
from adamw_scale.probe.trackers import TRACKERS, open_tracker
from adamw_scale.probe.trackers.background import BackgroundTracker
from adamw_scale.probe.trackers.tracker import TrackedRun
from adamw_scale.spec.measurement import ProbeResult

LIBRARIES = {
    "tensorboard": "tensorboard",
    "wandb": "wandb",
    "mlflow": "mlflow",
    "trackio": "trackio",
}
METRICS = {"accuracy": 0.75}
RESULTS = [
    result(0).model_copy(update={"metrics": METRICS}),
    result(1, points=3, status="diverged"),
    result(2, points=0, status="failed"),
]
STEPS = round(RUN.total_steps)

# Their libraries deprecate parts of each other; what they warn of is theirs.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


@dataclass
class Seen:
    """A run as its library's reader gives it back."""

    settings: dict[str, Any]
    status: str
    reason: str | None = None
    curve: list[tuple[int, float]] = field(default_factory=list)
    final: dict[str, tuple[int, float]] = field(default_factory=dict)


@pytest.fixture
def env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment in which nobody has configured any tracker, or logged in anywhere."""
    for name in list(os.environ):
        if name.startswith(("WANDB", "MLFLOW", "TRACKIO", "HF_")):
            monkeypatch.delenv(name)
    for name, value in {
        "HOME": str(tmp_path / "home"),
        "NETRC": str(tmp_path / "home" / "netrc"),
        "WANDB_MODE": "offline",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "TRACKIO_DIR": str(tmp_path / "trackio"),
        "HF_HUB_OFFLINE": "1",
    }.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "home").mkdir()
    return monkeypatch


@pytest.fixture(autouse=True)
def without_wandb_service() -> Iterator[None]:
    """No test finds the settings of the one before it."""
    yield
    if "wandb" in sys.modules:
        sys.modules["wandb"].teardown()


def track(name: str, folder: Path) -> list[str]:
    """Log the three results; what was noticed."""
    notices: list[str] = []
    folder.mkdir(exist_ok=True)
    with open_tracker(name, folder, notices.append) as tracker:
        for each in RESULTS:
            tracker.result(each)
    return notices


def from_tensorboard(folder: Path) -> dict[str, Seen]:
    """Scalars and hyperparameters of each folder of event files."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import plugin_data_pb2

    seen = {}
    for run in (folder / "tensorboard").iterdir():
        events = EventAccumulator(str(run)).Reload()
        content = events.PluginTagToContent("hparams")["_hparams_/session_start_info"]
        start = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info
        values = {name: _number(value) for name, value in start.hparams.items()}
        scalars = {tag: [(s.step, s.value) for s in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
        status, reason = values.pop("status"), values.pop("reason", None)
        name, key = run.name.rsplit(" ", 1)
        assert values["key"].startswith(key)
        curve = scalars.pop("train/loss", [])
        seen[name] = Seen(values, status, reason, curve, {tag: points[0] for tag, points in scalars.items()})
    return seen


def _number(value: Any) -> Any:
    return getattr(value, value.WhichOneof("kind"))


def from_wandb(folder: Path) -> dict[str, Seen]:
    """Records of each offline run's file."""
    sys.modules["wandb"].teardown()  # as at the end of the process: the last file is written out only then
    seen = {}
    for file in folder.glob("wandb/offline-run-*/run-*.wandb"):
        run, history, summary = None, [], {}
        for record in wandb_records(file.read_bytes()):
            kind = record.WhichOneof("record_type")
            if kind == "run":
                run = record.run
                assert (run.project, run.run_group) == ("adamw-scale", folder.name)
            elif kind == "history":
                row = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
                history.append((record.history.step.num, row))
            elif kind == "summary":
                summary |= {
                    item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.summary.update
                }
        assert run is not None
        values = {item.key: json.loads(item.value_json) for item in run.config.update if item.key != "_wandb"}
        curve = [(step, row["train/loss"]) for step, row in history if "train/loss" in row]
        final = {
            name: (step, value)
            for step, row in history
            for name, value in row.items()
            if name.startswith(("held_out/", "seconds"))
        }
        seen[run.display_name] = Seen(values, summary["status"], summary.get("reason"), curve, final)
    return seen


def wandb_records(content: bytes) -> Iterator[Any]:
    """The messages of a transaction log: blocks of 32 KiB, in them chunks of (checksum, length, kind) and data."""
    from wandb.proto.wandb_internal_pb2 import Record

    block, header, whole_or_last = 1 << 15, 7, (1, 4)
    stream, message = io.BytesIO(content), b""
    assert stream.read(header)[:4] == b":W&B"
    while len(head := stream.read(header)) == header:
        message += stream.read(int.from_bytes(head[4:6], "little"))
        if head[6] in whole_or_last:
            yield Record.FromString(message)
            message = b""
        if (rest := block - stream.tell() % block) < header:
            stream.read(rest)


def from_mlflow(folder: Path) -> dict[str, Seen]:
    """Runs of the experiment in the folder's database."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("adamw-scale")
    seen = {}
    for run in client.search_runs([experiment.experiment_id]):
        points = {
            name: [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, name)]
            for name in run.data.metrics
        }
        assert run.data.tags["calibration"] == folder.name
        status = run.data.tags["status"]
        assert run.info.status == ("FAILED" if status == "failed" else "FINISHED")
        values = {name: _typed(value) for name, value in run.data.params.items()}
        curve = points.pop("train/loss", [])
        final = {name: value[0] for name, value in points.items()}
        seen[run.info.run_name] = Seen(values, status, run.data.tags.get("reason"), curve, final)
    return seen


def _typed(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text


def from_trackio(folder: Path) -> dict[str, Seen]:
    """Runs of the project, where the environment keeps them."""
    import trackio
    from trackio.sqlite_storage import SQLiteStorage

    seen = {}
    for run in trackio.Api().runs("adamw-scale"):
        values = {name: value for name, value in run.config.items() if not name.startswith("_")}
        assert run.config["_Group"] == folder.name
        rows = SQLiteStorage.get_logs("adamw-scale", run.name, run_id=run.id)
        curve = [(row["step"], row["train/loss"]) for row in rows if "train/loss" in row]
        final = {
            name: (row["step"], value)
            for row in rows
            for name, value in row.items()
            if name.startswith(("held_out/", "seconds"))
        }
        seen[run.name] = Seen(values, values.pop("status"), values.pop("reason", None), curve, final)
    return seen


READERS: dict[str, Callable[[Path], dict[str, Seen]]] = {
    "tensorboard": from_tensorboard,
    "wandb": from_wandb,
    "mlflow": from_mlflow,
    "trackio": from_trackio,
}


@pytest.mark.parametrize("name", READERS)
def test_everything_is_read_back(
    name: str, tmp_path: Path, env: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run per probe with its settings, curve, final values and status; nothing on stdout, which has the answer."""
    pytest.importorskip(LIBRARIES[name])
    notices = track(name, tmp_path / "mine")
    assert len(notices) == 1, notices
    assert notices[0].startswith(f"--track {name}: ")
    assert capsys.readouterr().out == ""

    seen = READERS[name](tmp_path / "mine")
    assert set(seen) == {TrackedRun(each).name for each in RESULTS} == {f"seed {seed} tau 240%" for seed in range(3)}
    for each in RESULTS:
        run = seen[TrackedRun(each).name]
        assert run.settings == {
            key: value if isinstance(value, str) else pytest.approx(value)
            for key, value in TrackedRun(each).settings.items()
        }
        assert (run.status, run.reason) == (each.status, each.reason)
        assert run.curve == [(step, pytest.approx(loss)) for step, loss in each.curve]
    assert seen["seed 0 tau 240%"].final == {
        "held_out/loss": (STEPS, pytest.approx(2.3)),
        "held_out/accuracy": (STEPS, 0.75),
        "seconds": (STEPS, 1.5),
    }
    assert seen["seed 1 tau 240%"].final == {"seconds": (STEPS, 1.5)}


def test_long_curves_are_whole(tmp_path: Path, env: pytest.MonkeyPatch) -> None:
    """MLflow takes a thousand points at a time."""
    pytest.importorskip("mlflow")
    long = result(7, points=2500)
    with open_tracker("mlflow", tmp_path, print) as tracker:
        tracker.result(long)
    assert from_mlflow(tmp_path)[TrackedRun(long).name].curve == list(long.curve)


def test_settings_say_what_a_probe_was() -> None:
    """Decay as PyTorch has it, and both timescales, which are the same thing."""
    values = TrackedRun(RESULTS[0]).settings
    assert (values["lr"], values["weight_decay"], values["seed"], values["task"]) == (2e-3, 0.1, 0, "planted")
    assert values["tau_iters"] == pytest.approx(1 / (2e-3 * 0.1))
    assert values["tau_run"] == pytest.approx(values["tau_iters"] / RUN.total_steps)  # type: ignore[operator]
    assert values["key"] == RESULTS[0].key


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_missing_library_is_one_line(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each tracker has an extra of its name."""
    monkeypatch.setitem(sys.modules, LIBRARIES[name], None)
    with pytest.raises(MissingExtraError, match=rf"--track {name} needs .*pip install 'adamw-scale\[{name}\]'"):
        open_tracker(name, tmp_path, print)


def test_an_unknown_tracker_is_told_the_known(tmp_path: Path) -> None:
    """A typo is answered with the nearest name."""
    with pytest.raises(UnknownNameError, match="did you mean 'wandb'"):
        open_tracker("wanbd", tmp_path, print)
    assert set(TRACKERS) == set(READERS) == set(LIBRARIES)


def test_wandb_asks_nobody_for_a_login(tmp_path: Path, env: pytest.MonkeyPatch) -> None:
    """Online without an API key is refused in one line that has the ways out."""
    pytest.importorskip("wandb")
    env.delenv("WANDB_MODE")
    env.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    with (
        pytest.raises(CalibrationError, match=r"no API key.*wandb login.*WANDB_MODE=offline"),
        open_tracker("wandb", tmp_path, print),
    ):
        pytest.fail("it was opened")


def test_wandb_leaves_the_environment_of_probes_alone(tmp_path: Path, env: pytest.MonkeyPatch) -> None:
    """Commands that log to wandb themselves start as if nobody else did."""
    pytest.importorskip("wandb")
    before = dict(os.environ)
    track("wandb", tmp_path)
    assert dict(os.environ) == before


def test_a_server_that_is_down_costs_no_probe(tmp_path: Path, env: pytest.MonkeyPatch) -> None:
    """One notice with the reason, then silence."""
    pytest.importorskip("wandb")
    env.setattr("adamw_scale.probe.trackers.to_wandb.INIT_TIMEOUT", 1.0)
    env.setenv("WANDB_MODE", "online")
    env.setenv("WANDB_API_KEY", "0" * 40)
    env.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    opened, stopped = track("wandb", tmp_path)
    assert "project adamw-scale" in opened
    assert stopped.startswith("--track wandb stopped: ")
    assert "\n" not in stopped


def test_a_server_that_was_never_there_is_refused(tmp_path: Path, env: pytest.MonkeyPatch) -> None:
    """What is known before the first probe is an error, not a notice."""
    pytest.importorskip("mlflow")
    env.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(CalibrationError, match="--track mlflow does not work") as error:
        track("mlflow", tmp_path)
    assert "\n" not in str(error.value)


def test_a_store_that_breaks_in_the_middle_costs_no_probe(tmp_path: Path, env: pytest.MonkeyPatch) -> None:
    """The first run is there, the second meets a damaged database."""
    pytest.importorskip("mlflow")
    notices: list[str] = []
    with open_tracker("mlflow", tmp_path, notices.append) as tracker:
        tracker.result(RESULTS[0])
        wait_for(lambda: not tracker._signs.empty())
        for file in tmp_path.glob("mlflow.db*"):
            file.write_bytes(b"no database" * 1000)
        for each in RESULTS[1:]:
            tracker.result(each)
    assert [text.split(": ")[0] for text in notices] == ["--track mlflow", "--track mlflow stopped"]


class Recorder:
    """A tracker that keeps results in memory; what a test makes of it fails or hangs."""

    name: ClassVar[str] = "recorder"
    place = "here"

    def __init__(self, folder: Path = Path(), name: str = "") -> None:
        self.results: list[ProbeResult] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def result(self, result: ProbeResult) -> None:
        """Keep it."""
        self.results.append(result)


class Failing(Recorder):
    """Fails at the second result, as a library may: in several lines, or by ending the process."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def result(self, result: ProbeResult) -> None:
        """Keep one, then raise."""
        if self.results:
            raise self.error
        super().result(result)


class Slow(Recorder):
    """Takes its time, but goes on."""

    def result(self, result: ProbeResult) -> None:
        """Keep it after a while."""
        time.sleep(0.15)
        super().result(result)


class Hanging(Recorder):
    """Never comes back."""

    def result(self, result: ProbeResult) -> None:
        """Wait for a network that is gone."""
        time.sleep(3600)


class NeverOpen(Recorder):
    """Hangs on opening."""

    def __enter__(self) -> Self:
        time.sleep(3600)
        return self


class FailingToClose(Recorder):
    """Fails on closing."""

    def __exit__(self, *_: object) -> None:
        raise OSError("disk full")


def wait_for(condition: Callable[[], bool]) -> None:
    """Until it holds."""
    deadline = time.monotonic() + 240
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def tell(tracker: Recorder, patience: float = 60.0) -> list[str]:
    """Log ten results; what was noticed."""
    notices: list[str] = []
    with BackgroundTracker(tracker, "--track it", notices.append, patience) as background:
        for seed in range(10):
            background.result(result(seed))
    return notices


def test_results_are_waited_for_while_they_go_on() -> None:
    """All of them, in order, even where the whole takes longer than the patience for one."""
    slow = Slow()
    assert tell(slow, patience=1.0) == ["--track it: here"]
    assert slow.results == [result(seed) for seed in range(10)]


@pytest.mark.parametrize("error", [OSError("network\n is unreachable."), SystemExit(1), KeyError("x")])
def test_a_failure_is_told_once(error: BaseException) -> None:
    """Whatever a library raises, and however often it is asked."""
    failing = Failing(error)
    _, stopped = tell(failing)
    assert stopped.startswith("--track it stopped: ")
    assert "\n" not in stopped
    assert len(failing.results) == 1


def test_a_tracker_that_hangs_is_left_behind() -> None:
    """The calibration ends although the tracker does not."""
    _, stopped = tell(Hanging(), patience=0.1)
    assert "no answer within 0.1 seconds" in stopped


def test_a_tracker_that_does_not_open_is_refused() -> None:
    """Before any probe runs."""
    with pytest.raises(CalibrationError, match="--track it does not work: no answer"):
        tell(NeverOpen(), patience=0.1)


def test_a_failure_on_closing_is_told() -> None:
    """What could not be written at last is not kept secret."""
    _, stopped = tell(FailingToClose())
    assert stopped.startswith("--track it stopped: disk full.")


def test_a_calibration_logs_every_probe_it_runs(tmp_path: Path, planted: type[PlantedEngine]) -> None:
    """As many runs as probes; a calibration that is complete logs none again."""
    pytest.importorskip("tensorboard")
    for _ in range(2):
        calibrate(tmp_path, engine=planted, trackers=["tensorboard"])
        assert len(list((tmp_path / "tensorboard").iterdir())) == len(planted.trained)


def test_an_unknown_tracker_on_the_command_line(tmp_path: Path, adamw_scale: Command) -> None:
    """Status 2 and one line."""
    outcome = adamw_scale("calibrate", "--out", str(tmp_path), "--track", "tensorbord")
    assert outcome.code == 2
    assert "did you mean 'tensorboard'" in outcome.err
