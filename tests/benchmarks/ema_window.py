"""How long does it take to know what the weights of a ten-million-step run remember?

    python tests/benchmarks/ema_window.py [RUNS]

Prints the median of the closed form (retention, window, five quantiles, a picture's 121 points) for every kind
of schedule, where the bar is 1 ms, and the exact coefficients against an in-place cumulative product over as
many numbers, where the bar is a ratio of 3.
"""

import statistics
import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from adamw_scale.theory.coefficients import ema_coefficients
from adamw_scale.theory.schedules import Schedule
from adamw_scale.theory.weight_decay_schedules import Decay
from adamw_scale.theory.window import EmaWindow

STEPS = 10_000_000
TAU_RUN = 0.05
SCHEDULES = {
    "cosine": Decay(Schedule("cosine", warmup_fraction=0.02, final_lr_fraction=0.1)),
    "wsd-1-sqrt": Decay(Schedule("wsd-1-sqrt", warmup_fraction=0.01)),
    "cosine-restarts": Decay(Schedule("cosine-restarts", cycles=20)),
    "cosine, AdamC": Decay(Schedule("cosine"), "follows-lr"),
    "cosine, λ cosine": Decay(Schedule("cosine"), "cosine"),
}


def milliseconds(work: Callable[[], object], runs: int) -> float:
    """Median time of a piece of work."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def window(decay: Decay) -> None:
    """Everything that `adamw-scale timescale` prints."""
    view = EmaWindow(decay, TAU_RUN, STEPS)
    view.retention()
    view.effective_window()
    for share in (0.1, 0.25, 0.5, 0.75, 0.9):
        view.age_quantile(share)


def picture(decay: Decay) -> None:
    """The points of its picture."""
    view = EmaWindow(decay, TAU_RUN, STEPS)
    for point in range(121):
        view.density(point / 120)


def main(runs: int) -> None:
    """Measure and print."""
    for name, decay in SCHEDULES.items():
        window_ms, picture_ms = (milliseconds(partial(work, decay), runs) for work in (window, picture))
        print(f"{name:18} window {window_ms:6.3f} ms   picture {picture_ms:6.3f} ms")
    decays = np.linspace(2 / (TAU_RUN * STEPS), 0, STEPS)
    buffer = np.empty(STEPS)

    def in_place() -> None:
        np.subtract(1.0, decays, out=buffer)
        np.cumprod(buffer, out=buffer)

    exact, bare = milliseconds(lambda: ema_coefficients(decays), 5), milliseconds(in_place, 5)
    both = f"exact coefficients {exact:.0f} ms, in-place cumulative product {bare:.0f} ms"
    print(f"{both}, ratio {exact / bare:.2f}   ({STEPS:,} steps)")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 50)
