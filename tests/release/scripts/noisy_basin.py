"""A "training" without a model: its loss has a basin in lr * weight decay, a level for each seed, and small noise.

Called as: python noisy_basin.py LR WEIGHT_DECAY STEPS SEED
"""

import json
import math
import sys


def unit(number: float) -> float:
    """A fraction that looks random and is the same everywhere."""
    return math.modf(math.sin(number * 12.9898) * 43758.5453)[0]


def main(lr: float, weight_decay: float, steps: float, seed: int) -> None:
    """Print what a training script prints: losses on the way, and a held-out loss at the end."""
    octaves = -math.log2(lr * weight_decay * steps)
    away = octaves + 2.4
    basin = 0.05 * away**2 * (1.3 if away < 0 else 0.8) / (1 + 0.1 * abs(away))
    noise = 0.004 * unit(31 * seed + round(16 * octaves))
    for quarter in range(1, 5):
        print(json.dumps({"step": int(steps * quarter / 4), "loss": 5 - quarter / 2}))
    print(json.dumps({"val_loss": 2.3 + 0.1 * unit(seed + 1) + basin + noise, "accuracy": 0.9 - basin}))


if __name__ == "__main__":
    main(*(float(argument) for argument in sys.argv[1:4]), seed=int(sys.argv[4]))
