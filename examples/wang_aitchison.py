"""Wang & Aitchison (arXiv:2405.13698) in small: which of λ, timescale in epochs and fraction of the run stays put?

    python examples/wang_aitchison.py DIR        ten minutes on two cores; goes on where it was

Trains a byte-level network (`byte-mlp`) on the Python standard library's source and writes DIR/wang_aitchison.svg:

1. The best λ against the size of the data set, at fixed learning rate and epochs. The paper's claim is a line of slope
   -1: the timescale in epochs is constant.
2. The learning rate at two widths under muP, whose hidden rate falls as 1/m, with λ fixed and with the hidden λ times
   m. The paper's claim is that only the latter leaves the best learning rate in place.
3. A table of how far the best timescale moves, in octaves, when one thing at a time is changed: 0 in a column means
   that this is what stayed.

Prints what it found, whether that agrees or not.
"""

import math
import sys
from pathlib import Path

from adamw_scale import calibrate
from adamw_scale.calibration import PROBES_FILE
from adamw_scale.files import write_atomically
from adamw_scale.probe.engines import ENGINES
from adamw_scale.probe.engines.engine import in_cohorts
from adamw_scale.probe.store import ProbeStore
from adamw_scale.spec.measurement import Optimum, ProbeConfig
from adamw_scale.training.tasks import load_task
from adamw_scale.training.tasks.task import TaskSource

TASK = "byte-mlp"
SIZES = ("4k", "8k", "16k", "32k", "64k")
MOVES = {"dataset_size": "4x", "epochs": "2x", "width": "4x", "batch_size": "2x", "peak_lr": "2x"}
LRS = tuple(4e-3 * 2.0**i for i in range(7))
BASE_WIDTH, WIDE = 64, 256
SEEDS = (0, 1, 2)


def optima(folder: Path, **axes: tuple[str, ...]) -> list[Optimum]:
    """The optimum of the base run, and of each run that an axis asks for."""
    return list(calibrate(folder, TASK, axes=axes).optima)


def lr_curves(folder: Path, weight_decay: float) -> dict[str, list[float]]:
    """Mean held-out loss at each learning rate: at the base width, and four times as wide with either λ (muP)."""
    source = TaskSource(TASK, folder=str(folder))
    task = load_task(source)
    cases = {
        "width 64": (BASE_WIDTH, "mup"),
        "width 256, the same λ": (WIDE, "mup-constant-decay"),
        "width 256, λ times 4": (WIDE, "mup"),
    }
    configs: dict[tuple[str, float, int], ProbeConfig] = {}
    for name, (width, parametrization) in cases.items():
        for lr in LRS:
            run = task.default_run(
                {"width": width, "base_width": BASE_WIDTH, "parametrization": parametrization, "peak_lr": lr}
            )
            run = run.model_copy(update={"weight_decay": weight_decay})
            for seed in SEEDS:
                configs[name, lr, seed] = ProbeConfig(task=task.identity(run), run=run, seed=seed)
    with ProbeStore(folder / PROBES_FILE) as store, ENGINES["processes"](source, 2, {}) as engine:
        missing = [config for config in configs.values() if config.key not in store.results]
        for results in engine.run(
            in_cohorts(missing, lambda run: task.cohort_limit(run, "cpu"), 2), lambda progress: None
        ):
            store.append(*results)
        losses = {point: store.results[config.key].value for point, config in configs.items()}
    return {name: [sum(losses[name, lr, s] for s in SEEDS) / len(SEEDS) for lr in LRS] for name in cases}


def shifts(first: Optimum, moved: Optimum) -> dict[str, float]:
    """Octaves by which the best value moved, in the three views and as λ."""
    views = ("epochs", "run", "iters")
    found = {view: math.log2(getattr(moved.timescale, view) / getattr(first.timescale, view)) for view in views}
    return {**found, "λ": math.log2(moved.weight_decay / first.weight_decay)}


def main(folder: Path) -> None:
    """Train, print, draw."""
    folder.mkdir(parents=True, exist_ok=True)
    by_size = [o for o in optima(folder / "sizes", dataset_size=SIZES) if o.status == "located"]
    print("best λ against data")
    for o in by_size:
        low, high = (o.run.timescale(run=2.0**end).epochs for end in o.log2_interval)
        epochs = f"{o.timescale.epochs:.2f} epochs ({low:.2f} to {high:.2f})"
        print(f"  {o.run.dataset_size:8.0f} bytes  λ {o.weight_decay:.3f}  {epochs}")
    slope = _slope([math.log2(o.run.dataset_size) for o in by_size], [math.log2(o.weight_decay) for o in by_size])
    print(f"  slope of log λ in log data: {slope:.2f} (constant timescale in epochs: -1)")

    base, *moved = optima(folder / "moves", **{axis: ("1x", factor) for axis, factor in MOVES.items()})
    print(
        "\noctaves that the best value moves\n"
        + " " * 18
        + "".join(f"{view:>9}" for view in ("epochs", "run", "iters", "λ"))
    )
    for (axis, factor), o in zip(MOVES.items(), moved, strict=True):
        cells = "".join(f"{shift:9.2f}" for shift in shifts(base, o).values())
        print(f"  {axis:13}{factor:>3}{cells}   {o.status}")

    curves = lr_curves(folder, base.weight_decay)
    print("\nloss by learning rate, muP")
    for name, losses in curves.items():
        best = LRS[min(range(len(LRS)), key=lambda i: losses[i])]
        print(f"  {name:22} best lr {best:.4g}: " + " ".join(f"{loss:.3f}" for loss in losses))
    write_atomically(folder / "wang_aitchison.svg", picture(by_size, curves))


def _slope(x: list[float], y: list[float]) -> float:
    center = sum(x) / len(x)
    return sum((a - center) * b for a, b in zip(x, y, strict=True)) / sum((a - center) ** 2 for a in x)


def picture(by_size: list[Optimum], curves: dict[str, list[float]]) -> str:
    """Both panels as SVG, on logarithmic axes."""
    sizes, decays = [o.run.dataset_size for o in by_size], [o.weight_decay for o in by_size]
    left = _Panel(40, "bytes of data", "best λ", sizes, decays, log_y=True)
    right = _Panel(
        420, "learning rate", "held-out loss", list(LRS), [min(3.5, v) for c in curves.values() for v in c], log_y=False
    )
    parts = [left.frame(), left.line(sizes, decays, "#0b6", "measured")]
    law = [decays[0] * sizes[0] / size for size in sizes]
    parts.append(left.line(sizes, law, "#999", "λ ~ 1 / data", dashed=True, row=1))
    parts.append(right.frame())
    for row, (colour, (name, losses)) in enumerate(zip(("#06c", "#c30", "#0b6"), curves.items(), strict=True)):
        parts.append(right.line(list(LRS), [min(3.5, v) for v in losses], colour, name, row=row))
    head = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 800 360" font-family="sans-serif" font-size="12">'
    return "\n".join([head, '<rect width="800" height="360" fill="white"/>', *parts, "</svg>\n"])


class _Panel:
    """One diagram, 320 wide and 260 high."""

    def __init__(self, left: float, x_name: str, y_name: str, x: list[float], y: list[float], *, log_y: bool) -> None:
        self.left, self.x_name, self.y_name, self.log_y = left, x_name, y_name, log_y
        self.x_ends = (math.log(min(x)), math.log(max(x)))
        values = [math.log(v) for v in y] if log_y else y
        self.y_ends = (min(values), max(values))

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where a point is drawn."""
        across = (math.log(x) - self.x_ends[0]) / (self.x_ends[1] - self.x_ends[0])
        up = ((math.log(y) if self.log_y else y) - self.y_ends[0]) / (self.y_ends[1] - self.y_ends[0])
        return self.left + 40 + 280 * across, 290 - 230 * up

    def frame(self) -> str:
        """Axes, their names and their ends."""
        low, high = ((math.exp(v) if self.log_y else v) for v in self.y_ends)
        first, last = (math.exp(v) for v in self.x_ends)
        x0, x1 = self.left + 40, self.left + 320
        return (
            f'<path d="M{x0} 50V290H{x1}" fill="none" stroke="black"/>'
            f'<text x="{x0}" y="306">{first:.3g}</text><text x="{x1}" y="306" text-anchor="end">{last:.3g}</text>'
            f'<text x="{(x0 + x1) / 2}" y="325" text-anchor="middle">{self.x_name}</text>'
            f'<text x="{x0 - 4}" y="290" text-anchor="end">{low:.3g}</text>'
            f'<text x="{x0 - 4}" y="64" text-anchor="end">{high:.3g}</text>'
            f'<text x="{x0}" y="40">{self.y_name}</text>'
        )

    def line(
        self, x: list[float], y: list[float], colour: str, name: str, *, dashed: bool = False, row: int = 0
    ) -> str:
        """A line with its points and its name."""
        points = [self.at(a, b) for a, b in zip(x, y, strict=True)]
        path = "M" + " L".join(f"{a:.1f} {b:.1f}" for a, b in points)
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        dots = "".join(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{colour}"/>' for a, b in points)
        return (
            f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>{dots}'
            f'<text x="{self.left + 180}" y="{66 + 16 * row}" fill="{colour}">{name}</text>'
        )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
