#!/bin/sh
# A "training" without a model: sh basin.sh LR WEIGHT_DECAY STEPS SEED
# Its loss has a basin around a timescale of 2^-2.4 of the run, a level that differs from seed to seed, and noise.
awk -v lr="$1" -v wd="$2" -v steps="$3" -v seed="$4" '
function unit(x) { x = sin(x * 12.9898) * 43758.5453; return x - int(x) }
BEGIN {
    octaves = log(1 / (lr * wd * steps)) / log(2)
    far = octaves + 2.4
    basin = 0.05 * far * far * (far < 0 ? 1.3 : 0.8) / (1 + 0.1 * (far < 0 ? -far : far))
    noise = 0.004 * unit(seed * 31 + octaves * 7)
    for (quarter = 1; quarter <= 4; quarter++)
        printf "{\"step\": %d, \"loss\": %.6f}\n", steps * quarter / 4, 5 - quarter / 2
    printf "{\"val_loss\": %.17g, \"octaves\": %.17g}\n", 2.3 + 0.1 * unit(seed + 1) + basin + noise, octaves
}'
