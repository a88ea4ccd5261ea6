#!/usr/bin/env bash
# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
#
# A policy for the simulated arm from nothing: pictures and demonstrations, encoders that find what
# is named, training, success rates.
# Interrupt and run it again: each part goes on where it stopped.
#
#   RUN=runs/mine scripts/policy.sh [key=value...]      settings of training, e.g. steps=9000
#
# A quick look at all parts, in minutes (the policy is no good):
#   PICTURES=400 EPISODES=8 GROUND_STEPS=50 JUDGED=2 RUN=runs/look DATA=datasets/look \
#     SCENES=datasets/look_scenes scripts/policy.sh steps=50 save.every=50
set -euo pipefail
cd "$(dirname "$0")/.."

data=${DATA:-datasets/tiny_sim}
scenes=${SCENES:-datasets/tiny_sim_scenes}
run=${RUN:-runs/tiny_sim}
episodes=${EPISODES:-920} # of each task
judged=${JUDGED:-100}
collect=(python -m vla_adapter_ros.simulation.collect "$data" --append --image-size 96 --storage image)

python -m vla_adapter_ros.simulation.ground_scenes "$scenes" --pictures "${PICTURES:-16000}"
# The table of the demo, with one instruction after another; then all five tasks.
"${collect[@]}" --task tabletop --episodes $((episodes / 4))
"${collect[@]}" --episodes "$episodes"
if [ ! -e "$run/grounded/grounding.jsonl" ]; then
  python -m vla_adapter_ros.training.ground --config tiny_sim --scenes "$scenes" \
    --out "$run/grounded" --steps "${GROUND_STEPS:-3000}"
fi
python -m vla_adapter_ros.training.train --config tiny_sim \
  "data.datasets=[$data]" "start.grounded=$run/grounded" "output_dir=$run" "$@"
last=$(ls -d "$run"/checkpoints/step-* | tail -1)
python -m vla_adapter_ros.evaluation.simulate "$last" \
  --episodes "$judged" --listen $((judged / 5)) --workers "$(nproc)" --out "$run/report"
