#!/usr/bin/env bash
# For whoever lives in the shell: which weight decay, as numbers for a script, as a config, and checked in a config.
#
#   bash examples/shell_user.sh DIR
set -euo pipefail
out=${1:?pass a folder for the config}
mkdir -p "$out"
run=(--params 1.3B --tokens 26B --batch-size 524288 --sequence-length 2048 --lr 3e-4 --schedule cosine --warmup 2%)

adamw-scale recommend "${run[@]}"

# One number, for a script of your own.
weight_decay=$(adamw-scale recommend "${run[@]}" --json |
  python3 -c 'import json, sys; print(json.load(sys.stdin)["weight_decay"])')
echo "python train.py --weight-decay $weight_decay"

# The same, in the words and the unit of a framework; then the config is read back and judged.
adamw-scale emit megatron "${run[@]}" > "$out/launch.sh"
adamw-scale audit "$out/launch.sh" --params 1.3B

# What the final weights will remember, and what others do.
adamw-scale timescale "${run[@]}" --weight-decay "$weight_decay"
adamw-scale recipes --near "${run[@]}"
