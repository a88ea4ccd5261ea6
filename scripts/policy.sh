#!/usr/bin/env bash
# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
#
# A policy for the simulated arm from nothing: pictures and demonstrations, encoders that find what
# is named, training, success rates.
# Interrupt and run it again: each part goes on where it stopped.
#
#   RUN=runs/mine scripts/policy.sh [key=value...]      settings of training, e.g. steps=9000
set -euo pipefail
cd "$(dirname "$0")/.."

data=${DATA:-datasets/tiny_sim}
scenes=${SCENES:-datasets/tiny_sim_scenes}
run=${RUN:-runs/tiny_sim}
collect=(python -m vla_adapter_ros.simulation.collect "$data" --append --image-size 96 --storage image)

python -m vla_adapter_ros.simulation.ground_scenes "$scenes" --pictures 16000
# The table of the demo, with one instruction after another; then all five tasks.
"${collect[@]}" --task tabletop --episodes 220
"${collect[@]}" --episodes 920
if [ ! -e "$run/grounded/grounding.jsonl" ]; then
  python -m vla_adapter_ros.training.ground --config tiny_sim --scenes "$scenes" --out "$run/grounded"
fi
python -m vla_adapter_ros.training.train --config tiny_sim \
  "data.datasets=[$data]" "start.grounded=$run/grounded" "output_dir=$run" "$@"
last=$(ls -d "$run"/checkpoints/step-* | tail -1)
python -m vla_adapter_ros.evaluation.simulate "$last" --episodes 100 --listen 20 --out "$run/report"
