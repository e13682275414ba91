"""Measure whole basins: held-out loss over a dense grid of timescales, on many common seeds.

    python tests/benchmarks/surfaces.py FOLDER [--only NAME]     # about an hour on two cores; goes on where it was

What the fit is judged by (tests/benchmarks/coverage.py, search.py) are these basins with their own noise, kept in
surfaces.csv beside this file: one row a probe, log2_tau the log2 of its timescale as a fraction of the run.
"""

import argparse
import csv
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adamw_scale.calibration import PROBES_FILE
from adamw_scale.calibration.design import Ask, sweep_of
from adamw_scale.files import write_atomically
from adamw_scale.probe.engines import ENGINES
from adamw_scale.probe.engines.engine import in_cohorts
from adamw_scale.probe.search import Point
from adamw_scale.probe.store import ProbeStore
from adamw_scale.probe.sweep import Sweep
from adamw_scale.spec.measurement import ProbeResult
from adamw_scale.training.tasks import load_task
from adamw_scale.training.tasks.task import Task, TaskSource

FILE = Path(__file__).with_suffix(".csv")
FIELDS = ("surface", "unit", "dataset_size", "epochs", "steps", "width", "lr", "seed", "log2_tau", "loss")
HALF_OCTAVES = tuple(x / 2 for x in range(-16, 9))


@dataclass(frozen=True)
class Surface:
    """A run whose timescale is varied over the whole range that probes may have."""

    name: str
    task: str
    seeds: int = 8
    run: dict[str, Any] = field(default_factory=dict)


SURFACES = (
    Surface("bytes 16K", "byte-mlp", 10),
    Surface("bytes 8K", "byte-mlp", 8, {"dataset_size": 8192}),
    Surface("bytes 32K", "byte-mlp", 6, {"dataset_size": 32768}),
    Surface("bytes 16K, 32 epochs", "byte-mlp", 6, {"epochs": 32}),
    Surface("bytes 16K, width 128", "byte-mlp", 6, {"width": 128}),
    Surface("bytes 64K, 4 epochs", "byte-mlp", 8, {"dataset_size": 65536, "epochs": 4}),  # a plateau
    Surface("digits 80", "mlp", 12, {"dataset_size": 80}),
    Surface("digits 320", "mlp", 12),
    Surface("digits 1280", "mlp", 8, {"dataset_size": 1280}),
    Surface("digits 320, width 256", "mlp", 8, {"width": 256, "peak_lr": 7.5e-4}),
    Surface("text 16K", "char-lm", 8),
    Surface("text 128K, 1 epoch", "char-lm", 8, {"dataset_size": 131072, "epochs": 1, "peak_lr": 4e-3}),  # a plateau
    Surface("images 640", "vit", 8),
    Surface("images 640, resnet", "resnet", 6, {"dataset_size": 640, "epochs": 30, "width": 8}),
)


def trained(source: TaskSource, task: Task, sweep: Sweep, folder: Path) -> dict[Point, ProbeResult]:
    """The results of a sweep over a grid; trains what the folder does not hold yet, on two cores."""
    with ProbeStore(folder / PROBES_FILE) as store, ENGINES["processes"](source, 2, {}) as engine:
        batches = in_cohorts(sweep.missing(store.results), lambda run: task.cohort_limit(run, "cpu"), 2)
        for results in engine.run(batches, lambda progress: None):
            store.append(*results)
        return sweep.seen(store.results)


def measured(surface: Surface, folder: Path) -> list[dict[str, Any]]:
    """The rows of a surface."""
    source = TaskSource(surface.task, folder=str(folder))
    task = load_task(source)
    run = task.default_run(surface.run)
    whole = sweep_of(task, run, Ask(seeds=surface.seeds), None)
    grid = tuple(x for x in HALF_OCTAVES if x >= whole.low)
    results_of = trained(source, task, whole.model_copy(update={"grid": grid}), folder)
    about = (surface.name, run.unit, f"{run.dataset_size:g}", f"{run.epochs:g}", round(run.total_steps))
    return [
        dict(zip(FIELDS, (*about, f"{run.width:g}", f"{run.lr:g}", seed, x, f"{result.value:.6f}"), strict=True))
        for (seed, x), result in results_of.items()
    ]


def main() -> None:
    """Measure, and write the file anew."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where probes are kept")
    parser.add_argument("--only", default="", help="surfaces whose name starts so; the file is not written")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for surface in SURFACES:
        if surface.name.startswith(options.only):
            rows += measured(surface, options.folder)
            print(f"{surface.name}: done", file=sys.stderr, flush=True)
    if not options.only:
        from io import StringIO

        text = StringIO()
        writer = csv.DictWriter(text, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_atomically(FILE, text.getvalue())


if __name__ == "__main__":
    main()
