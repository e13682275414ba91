#!/usr/bin/env bash
# For whoever has a training script and a cluster: the weight decay of examples/own_script.py, then of a longer run.
#
#   bash examples/own_script.sh DIR                                        here, one training at a time
#   bash examples/own_script.sh DIR --engine ray                           a Ray of this machine's
#   bash examples/own_script.sh DIR --engine ray --engine-option address=auto        the cluster's
#   bash examples/own_script.sh DIR --engine slurm --engine-option partition=gpu
#
# Kill it anywhere and run it again: it goes on. More options of calibrate may follow, such as --seeds 2 or --budget 9.
set -euo pipefail
script=$(dirname "$0")/own_script.py
out=${1:?pass a folder for the results}
shift

adamw-scale calibrate --out "$out" --samples 4096 --batch-size 64 --epochs 16 --lr 2e-3 --schedule linear "$@" \
  --command "python $script --lr {lr} --weight-decay {weight_decay} --max-steps {steps} --seed {seed}"
adamw-scale recommend --calibration "$out" --samples 4096 --batch-size 64 --epochs 32 --lr 2e-3 --schedule linear
