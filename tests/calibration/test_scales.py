"""Several scales, learning rates, metrics and budgets in one calibration, on planted basins."""

import json
import math
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
from conftest import Command, PlantedEngine

from adamw_scale import TrainingRun, calibrate, recommend
from adamw_scale.calibration import PROBES_FILE, Watcher, fit_stored, load_calibration
from adamw_scale.calibration.design import Ask, Budget, designs
from adamw_scale.errors import CalibrationError, SpecError
from adamw_scale.probe.store import ProbeStore
from adamw_scale.spec.measurement import ProbeConfig, ProbeResult
from adamw_scale.training.tasks import load_task
from adamw_scale.training.tasks.task import Listener, TaskSource


class Moving(PlantedEngine):
    """A planted basin that moves with the data, the width and the learning rate, and is lowest at lr 4e-3."""

    data_slope: ClassVar[float] = -0.4  # octaves of the timescale in epochs for 4 times the data
    lr_slope: ClassVar[float] = -1.0  # octaves of the timescale per octave of lr
    trained: ClassVar[list[str]] = []

    def result(self, config: ProbeConfig, listener: Listener) -> ProbeResult:
        """The planted loss, an accuracy beside it, and what the learning rate costs."""
        run = config.run
        moved = self.data_slope * math.log(run.dataset_size / 16384, 4) + self.lr_slope * math.log2(run.lr / 2e-3)
        self.trained.append(config.key)
        loss = self.loss(config.log2_tau - moved, config.seed) + 0.02 * math.log2(run.lr / 4e-3) ** 2
        accuracy = 1 - 0.02 * (config.log2_tau - 1.0) ** 2
        return ProbeResult(
            key=config.key, config=config, status="done", loss=loss, seconds=0.1, metrics={"accuracy": accuracy}
        )


@pytest.fixture
def moving() -> type[Moving]:
    """A fresh engine class."""

    class Fresh(Moving):
        trained: ClassVar[list[str]] = []

    return Fresh


def test_scales_tell_how_the_optimum_moves(tmp_path: Path, moving: type[Moving]) -> None:
    """Three data sizes: each has its optimum, their slope is measured, a larger run's λ follows it."""
    calibration = calibrate(tmp_path, engine=moving, axes={"dataset_size": ["1x", "4x", "16x"]})
    assert [o.run.dataset_size for o in calibration.optima] == [16384, 65536, 262144]
    assert all(o.status == "located" for o in calibration.optima)
    assert set(calibration.slopes) == {"dataset_size"}
    slope = calibration.slopes["dataset_size"]
    assert slope.octaves_per_factor_4 == pytest.approx(-0.4, abs=0.15)
    assert 0 < slope.deviation < 0.3
    assert len(calibration.left_out) == 3
    for check in calibration.left_out:
        assert check.log2_interval[0] <= check.measured <= check.log2_interval[1]
    target = TrainingRun.model_validate({**calibration.optima[0].run.model_dump(), "dataset_size": 16384 * 64})
    advice = recommend(target, calibration=calibration)
    assert math.log2(advice.timescale.run) == pytest.approx(moving.minimum - 3 * 0.4, abs=0.5)
    assert "by this calibration" in advice.companions.derivation
    assert load_calibration(tmp_path) == calibration


def test_far_away_is_less_sure(tmp_path: Path, moving: type[Moving]) -> None:
    """The range of λ widens with the distance, and how far it is gets said."""
    calibration = calibrate(tmp_path, engine=moving, axes={"dataset_size": ["1x", "4x"]})
    base = calibration.optima[0].run.model_dump()
    spans = []
    for factor in (4, 64, 4096):
        advice = recommend(
            TrainingRun.model_validate({**base, "dataset_size": 16384 * factor}), calibration=calibration
        )
        low, high = advice.weight_decay_range
        spans.append(high / low)
    assert spans == sorted(spans)
    assert spans[-1] > 2 * spans[0]
    (moved,) = [caution.message for caution in advice.cautions if caution.code == "moved"]
    assert "data set × 1000;" in moved  # two digits of 1,024, as from the nearer of the two


def test_the_more_informative_wins(tmp_path: Path, moving: type[Moving]) -> None:
    """Near the probes the calibration decides; far away, in the midst of published evidence, it has little weight."""
    calibration = calibrate(tmp_path, engine=moving, run={"epochs": 2, "dataset_size": 262144})
    (optimum,) = calibration.optima
    far = TrainingRun(dataset_size="26B", batch_size="0.5M", peak_lr=3e-4, num_params="1.3B", width=2048)
    moved = {
        run.dataset_size: [math.log2(recommend(run, calibration=known).timescale.run) for known in (None, calibration)]
        for run in (optimum.run, far)
    }
    law, near = moved[optimum.run.dataset_size]
    measured = math.log2(optimum.timescale_run)
    assert abs(near - measured) < 0.15 * abs(law - measured)
    law_there, there = moved[far.dataset_size]
    assert abs(there - law_there) < 0.7 * abs(near - law)
    assert "moved" in {caution.code for caution in recommend(far, calibration=calibration).cautions}


def test_the_sweeps_are_a_star(moving: type[Moving]) -> None:
    """The first values are the base; every other value moves one thing."""
    task = load_task(TaskSource("byte-mlp"))
    sweeps = designs(task, Ask(axes={"dataset_size": ["1x", "2x"], "width": [64, 128, 256]}))
    assert [(s.run.dataset_size, s.run.width) for s in sweeps] == [
        (16384, 64), (32768, 64), (16384, 128), (16384, 256)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("axes", "says"),
    [
        ({"depth": [1, 2]}, "unknown axis 'depth'"),
        ({"dataset_size": ["1x", "-4x"]}, "or a multiple such as 4x"),
        ({"dataset_size": ["1x", "manyx"]}, "or a multiple such as 4x"),
        ({"dataset_size": ["1x", "1x"]}, "asked for twice"),
        ({"dataset_size": ["1x", "1e9x"]}, "lower --dataset-size"),
        ({"width": ["wide"]}, "'wide'"),
    ],
)
def test_axes_that_cannot_be(axes: dict[str, Any], says: str) -> None:
    """One line each."""
    with pytest.raises(SpecError, match=says):
        designs(load_task(TaskSource("byte-mlp")), Ask(axes=axes))


def test_the_learning_rate_is_tuned_too(tmp_path: Path, moving: type[Moving]) -> None:
    """Its optimum is found beyond the values first tried, and that λ is what stays as it moves."""
    calibration = calibrate(tmp_path, engine=moving, tune_lr=True)
    lr = calibration.lr
    assert lr is not None
    assert lr.peak_lr == pytest.approx(4e-3, rel=0.15)
    assert lr.status == "located"
    assert max(rate for rate, _ in lr.losses) == pytest.approx(8e-3)
    assert lr.timescale_slope == pytest.approx(-1.0, abs=0.1)
    assert lr.steadier == "weight_decay"


def test_the_timescale_may_be_the_steadier(tmp_path: Path, moving: type[Moving]) -> None:
    """Where the optimum in timescale does not move with lr, that is said."""
    moving.lr_slope = 0.0
    calibration = calibrate(tmp_path, engine=moving, tune_lr=True)
    assert calibration.lr is not None
    assert calibration.lr.steadier == "timescale"


def test_another_metric_has_another_optimum(tmp_path: Path, moving: type[Moving]) -> None:
    """Accuracy, maximised: its own optimum, in its own folder entry."""
    calibration = calibrate(tmp_path, engine=moving, metric="accuracy", maximize=True)
    assert math.log2(calibration.optima[0].timescale_run) == pytest.approx(1.0, abs=0.1)
    assert calibration.probes["metric"] == "accuracy"
    again = fit_stored(tmp_path, metric="accuracy", maximize=True)
    assert again.optima[0].timescale_run == pytest.approx(calibration.optima[0].timescale_run)
    with pytest.raises(CalibrationError, match="measured no 'f1', only loss, accuracy"):
        fit_stored(tmp_path, metric="f1")


@pytest.mark.parametrize("budget", ["12", "12 probes"])
def test_a_budget_in_probes_is_kept(tmp_path: Path, moving: type[Moving], budget: str) -> None:
    """No more are trained."""
    moving.noise = 0.05
    calibrate(tmp_path, engine=moving, budget=Budget.parse(budget))
    assert len(moving.trained) == 12


def test_a_budget_in_operations_is_kept(tmp_path: Path, moving: type[Moving]) -> None:
    """6·N·D each, over all scales."""
    moving.noise = 0.05
    calibration = calibrate(
        tmp_path, engine=moving, axes={"dataset_size": ["1x", "2x"]}, budget=Budget.parse("4e12flops")
    )
    spent = sum(6 * (o.run.num_params or 0) * o.run.total_units * len(moving.trained) / 2 for o in calibration.optima)
    assert 3e12 < spent <= 4e12


def test_a_budget_of_time_ends_the_search(tmp_path: Path, moving: type[Moving]) -> None:
    """The first stage is trained, and what there is gets fitted."""
    notices: list[str] = []
    calibrate(tmp_path, engine=moving, budget=Budget(seconds=1e-9), watcher=Watcher(notice=notices.append))
    assert len(moving.trained) == 5
    assert any("budget of time ends here" in notice for notice in notices)


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("20", Budget(probes=20)),
        ("20 probes", Budget(probes=20)),
        ("90s", Budget(seconds=90)),
        ("30min", Budget(seconds=1800)),
        ("2h", Budget(seconds=7200)),
        ("1e15flops", Budget(flops=1e15)),
        ("2 Pflops", Budget(flops=2e15)),
        ("2k", Budget(probes=2000)),
    ],
)
def test_budgets_are_read(text: str, budget: Budget) -> None:
    """In probes, time, or operations."""
    assert Budget.parse(text) == budget


@pytest.mark.parametrize("text", ["", "much", "-3", "0", "3 weeks", "h", "1.2.3", "5ms", "2kh"])
def test_budgets_that_are_none(text: str) -> None:
    """One line that shows how to write one."""
    with pytest.raises(SpecError, match="--budget"):
        Budget.parse(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("30m", "may be minutes or probes: write 30min, or 30000000 for probes"),
        ("30 m", "may be minutes or probes: write 30min"),
        ("30M", "may be minutes or probes: write 30min"),
        ("5m probes", "may be minutes or probes: write 5min, or 5000000 for probes"),
        ("2G", "may be operations or probes: write 2Gflops, or 2000000000 for probes"),
        ("1T", "may be operations or probes: write 1Tflops"),
        ("1P", "may be operations or probes: write 1Pflops"),
    ],
)
def test_a_unit_that_means_two_things_is_refused(text: str, says: str) -> None:
    """In any spacing; both readings are named, with what to write for each."""
    with pytest.raises(SpecError, match=says):
        Budget.parse(text)


def test_a_prediction_is_checked_where_nothing_was_measured(tmp_path: Path, moving: type[Moving]) -> None:
    """The larger run is trained around the prediction: its optimum, and what the prediction costs."""
    calibration = calibrate(
        tmp_path, engine=moving, axes={"dataset_size": ["1x", "4x"]}, validate={"dataset_size": "16x"}
    )
    checked = calibration.validation
    assert checked is not None
    assert checked.run.dataset_size == 16 * 16384
    assert checked.predicted == pytest.approx(moving.minimum - 0.8, abs=0.4)
    assert math.log2(checked.optimum.timescale_run) == pytest.approx(moving.minimum - 0.8, abs=0.15)
    assert 0 <= checked.regret < 0.02
    assert len(checked.losses) == 7
    with pytest.raises(SpecError, match="was calibrated: pass a larger one"):
        calibrate(tmp_path, engine=moving, axes={"dataset_size": ["1x", "4x"]}, validate={"dataset_size": "4x"})


@pytest.mark.parametrize("status", ["diverged", "failed"])
def test_a_prediction_that_cannot_be_trained_is_not_validated(
    status: Literal["diverged", "failed"], tmp_path: Path, moving: type[Moving]
) -> None:
    """Where the larger run's probes break, that is said, and the calibration stands."""

    class Breaking(moving):  # type: ignore[valid-type, misc]
        def result(self, config: ProbeConfig, listener: Listener) -> ProbeResult:
            if config.run.dataset_size <= 16384 or (status == "failed" and config.seed):
                return super().result(config, listener)
            reason = "it broke" if status == "failed" else None
            return ProbeResult(key=config.key, config=config, status=status, loss=None, seconds=0.1, reason=reason)

    notices: list[str] = []
    calibration = calibrate(
        tmp_path, engine=Breaking, validate={"dataset_size": "16x"}, watcher=Watcher(notice=notices.append)
    )
    assert calibration.located
    assert calibration.validation is None
    assert sum("not validated" in notice for notice in notices) == 1


def test_neighbours_that_diverge_are_left_out_of_a_validation(tmp_path: Path, moving: type[Moving]) -> None:
    """Regret is against those that trained."""

    class Breaking(moving):  # type: ignore[valid-type, misc]
        def result(self, config: ProbeConfig, listener: Listener) -> ProbeResult:
            if config.run.dataset_size <= 16384 or config.log2_tau > self.minimum - 2:
                return super().result(config, listener)
            return ProbeResult(key=config.key, config=config, status="diverged", loss=None, seconds=0.1)

    checked = calibrate(tmp_path, engine=Breaking, validate={"dataset_size": "16x"}).validation
    assert checked is not None
    assert 3 <= len(checked.losses) < 7
    assert all(math.isfinite(loss) for _, loss in checked.losses)
    assert 0 <= checked.regret < 0.03


def test_what_cannot_be_validated_is_said_before_training(tmp_path: Path, moving: type[Moving]) -> None:
    """An axis that is none, or more data than there are."""
    for larger, says in (({"depth": "3"}, "unknown axis 'depth'"), ({"dataset_size": "1e9x"}, "lower --dataset-size")):
        with pytest.raises(SpecError, match=says):
            calibrate(tmp_path, engine=moving, validate=larger)
    assert moving.trained == []


def test_on_the_command_line(tmp_path: Path, adamw_scale: Command) -> None:
    """Real probes at two sizes: both optima, their slope, the larger run's λ, as text and as JSON."""
    options = ["--task", "byte-mlp", "--sizes", "4k,8k", "--epochs", "8", "--seeds", "2", "--out", str(tmp_path)]
    plan = adamw_scale("calibrate", *options, "--plan", "--json")
    assert json.loads(plan.out)["probes_likely"] == 25
    assert len(json.loads(plan.out)["scales"]) == 1
    text = adamw_scale("calibrate", *options, "--target", "64x")
    assert text.code == 0, text.err
    assert "target, 256000 tokens x 8 epochs, width 64, lr 0.004: λ" in text.out
    assert text.out.count("optimum located") == 2
    assert "for 4 x the dataset size the timescale, as a share of the run, moves" in text.out
    fitted = adamw_scale("calibrate", *options, "--json")
    assert fitted.code == 0, fitted.err
    document = json.loads(fitted.out)
    assert set(document["slopes"]) == {"dataset_size"}
    assert json.loads(adamw_scale("calibrate", "--fit-only", "--out", str(tmp_path), "--json").out)["slopes"]
    larger = [
        "--tokens",
        "1M",
        "--batch-size",
        "128",
        "--epochs",
        "8",
        "--lr",
        "4e-3",
        "--params",
        "33k",
        "--width",
        "64",
    ]
    advice = adamw_scale("recommend", "--calibration", str(tmp_path), *larger, "--json")
    assert advice.code == 0, advice.err
    assert '"moved"' in advice.out
    snippet = adamw_scale("emit", "pytorch", "--calibration", str(tmp_path), *larger)
    assert snippet.code == 0, snippet.err
    assert f"{json.loads(advice.out)['weight_decay']:.4g}"[:4] in snippet.out
    assert "# Rule law (this calibration; this project's fit to" in snippet.out
    assert (tmp_path / "report.html").is_file()
    assert (tmp_path / "command.txt").read_text().startswith("adamw-scale calibrate --task byte-mlp")


class Noisy(Moving):
    """So noisy that two seeds leave every optimum vague."""

    noise: ClassVar[float] = 0.03
    trained: ClassVar[list[str]] = []


def seeds_of(calibration_folder: Path) -> dict[float, int]:
    """How many seeds each size of the data set got."""
    with ProbeStore(calibration_folder / PROBES_FILE, read_only=True) as store:
        configs = [result.config for result in store.results.values()]
    sizes = {config.run.dataset_size for config in configs}
    return {size: len({c.seed for c in configs if c.run.dataset_size == size}) for size in sizes}


def test_seeds_go_where_they_tell_about_the_target(tmp_path: Path) -> None:
    """Aimed at the probed run itself, a scale 64 times as dear tells little for its cost: its seeds come last."""
    axes = {"dataset_size": ["1x", "64x"]}
    calibrate(tmp_path / "all", engine=Noisy, axes=axes, seeds=5)
    calibration = calibrate(tmp_path / "aimed", engine=Noisy, axes=axes, seeds=5, target={"dataset_size": "1x"})
    everywhere, aimed = seeds_of(tmp_path / "all"), seeds_of(tmp_path / "aimed")
    large = 64 * 16384.0
    assert min(everywhere.values()) > 2  # without an aim both were worth it
    assert 2 <= aimed[large] < min(aimed[16384.0], everywhere[large])
    with ProbeStore(tmp_path / "aimed" / PROBES_FILE, read_only=True) as store:
        further = [r.config.run.dataset_size for r in store.results.values() if r.config.seed > 1]
    assert further == sorted(further)
    assert calibration.target is not None
    assert calibration.target.run == calibration.optima[0].run
    low, high = calibration.target.weight_decay_range
    assert low <= calibration.target.weight_decay <= high


def test_far_away_further_seeds_do_not_pay(tmp_path: Path) -> None:
    """How the law may be off far outweighs noise there: after two seeds of each scale it ends, and resumes alike."""
    asked: dict[str, Any] = {"axes": {"dataset_size": ["1x", "4x"]}, "seeds": 5, "target": {"dataset_size": "4096x"}}

    class Quiet(Moving):
        noise: ClassVar[float] = 0.012
        trained: ClassVar[list[str]] = []

    first = calibrate(tmp_path, engine=Quiet, **asked)
    assert set(seeds_of(tmp_path).values()) == {2}
    done = len(Quiet.trained)
    assert calibrate(tmp_path, engine=Quiet, **asked) == first
    assert len(Quiet.trained) == done


def test_a_target_that_cannot_be_is_refused_before_training(tmp_path: Path, moving: type[Moving]) -> None:
    """A multiple of what is not known, or no multiple at all."""
    with pytest.raises(SpecError, match="pass a number, or a multiple"):
        calibrate(tmp_path, engine=moving, target={"dataset_size": "nonex"})
    assert not moving.trained
