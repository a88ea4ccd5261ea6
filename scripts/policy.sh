#!/usr/bin/env bash
# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
#
# A policy for the simulated arm from nothing: expert demonstrations, training, success rates.
# Interrupt and run it again: each part goes on where it stopped.
#
#   RUN=runs/mine scripts/policy.sh [key=value...]      settings of training, e.g. steps=9000
set -euo pipefail
cd "$(dirname "$0")/.."

data=${DATA:-datasets/tiny_sim}
run=${RUN:-runs/tiny_sim}
collect=(python -m vla_adapter_ros.simulation.collect "$data" --append --image-size 96 --storage image)

# The table of the demo, with one instruction after another; then all five tasks.
"${collect[@]}" --task tabletop --episodes 210
"${collect[@]}" --episodes 890
python -m vla_adapter_ros.training.train --config tiny_sim \
  "data.datasets=[$data]" "output_dir=$run" "$@"
python -m vla_adapter_ros.evaluation.simulate "$run/checkpoints/best" \
  --episodes 100 --listen 20 --out "$run/report"
