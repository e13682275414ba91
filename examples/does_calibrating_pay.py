"""Does the calibrated weight decay beat the habits? Train it, and them, on seeds the calibration never saw.

    python examples/does_calibrating_pay.py DIR        DIR holds a calibration.json of char-lm

Trains the task of the calibration with its recommended λ, with a quarter and four times that, and with
0.01 and 0.1, each on three new seeds, one process per core. Prints the held-out loss of each (nats per
byte) and how much worse than the recommendation it is; ends with status 1 if anything beats it.
"""

import statistics
import sys
from pathlib import Path

from adamw_scale import recommend
from adamw_scale.calibration import load_calibration
from adamw_scale.probe.engines import ENGINES
from adamw_scale.spec.measurement import ProbeConfig
from adamw_scale.training.tasks.task import TaskSource

NEW_SEEDS = (1001, 1002, 1003)


def main(folder: Path, data: str | None) -> int:
    """Train, print the table, and say whether the recommendation won."""
    calibration = load_calibration(folder)
    run = calibration.optima[0].run
    best = recommend(run, calibration=calibration).weight_decay
    contenders = {"recommended": best, "a quarter": best / 4, "four times": best * 4, "λ = 0.01": 0.01, "λ = 0.1": 0.1}
    configs = {
        (name, seed): ProbeConfig(task=calibration.task, run=run.model_copy(update={"weight_decay": decay}), seed=seed)
        for name, decay in contenders.items()
        for seed in NEW_SEEDS
    }
    with ENGINES["processes"](TaskSource(calibration.task["name"], data), 2, {}) as engine:
        batches = engine.run([[config] for config in configs.values()], lambda progress: None)
        losses = {result.key: result.value for batch in batches for result in batch}

    print(f"{'':12} {'λ':>8}  {'held-out loss':>13}  {'over recommended':>16}   per seed")
    regrets = {}
    for name, decay in contenders.items():
        mine = [losses[configs[name, seed].key] for seed in NEW_SEEDS]
        theirs = [losses[configs["recommended", seed].key] for seed in NEW_SEEDS]
        regrets[name] = statistics.mean(mine) - statistics.mean(theirs)
        each = " ".join(f"{loss:.4f}" for loss in mine)
        print(f"{name:12} {decay:8.3g}  {statistics.mean(mine):13.4f}  {regrets[name]:+16.4f}   {each}")
    return int(min(regrets.values()) < 0)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None))
