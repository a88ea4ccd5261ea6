#!/usr/bin/env bash
# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
#
# A policy for the simulated arm from scratch, in six parts: images, demonstrations, grounded
# encoders, a first policy, demonstrations from the states in which that one fails, and the final
# policy. Then success rates. Interrupt and run it again: each part continues where it stopped.
#
#   RUN=runs/mine scripts/policy.sh [key=value...]      settings of the last training, e.g. steps=4000
#
# A quick look at all parts, in minutes (the policy is no good):
#   IMAGES=400 EPISODES=8 READING_STEPS=20 GROUND_STEPS=50 FIRST_STEPS=50 TAKEOVERS=2 EVALUATED=2 \
#     RUN=runs/look DATA=datasets/look scripts/policy.sh steps=50 save.every=50
#
# TASKS='reach move pick_and_place stack long_horizon put_in put_on' adds kitchen things; LEVELS=nominal is one level;
# SUBWORDS= trains a word list instead of subwords.
set -euo pipefail
cd "$(dirname "$0")/.."

data=${DATA:-datasets/tiny_sim}
run=${RUN:-runs/tiny_sim}
scenes=${data}_scenes
images=${IMAGES:-16000}
episodes=${EPISODES:-920} # of each task
evaluated=${EVALUATED:-100}
levels=(${LEVELS:-nominal bench hard}) # each has its share of images, demonstrations and takeovers
tasks=(${TASKS:-reach move pick_and_place stack long_horizon})
asked=() taken=() # arguments; a first policy reaches well: no takeovers of that
for task in "${tasks[@]}"; do
  asked+=(--task "$task")
  if [ "$task" != reach ]; then taken+=(--task "$task"); fi
done
read -ra subwords <<< "${SUBWORDS-tokenizer=subwords data.spelled_words=0.05}"
collect=(python -m vla_adapter_ros.simulation.collect --image-size 96 --storage image --words varied)
render=(python -m vla_adapter_ros.training.experiments.grounding.render_scenes --words varied)
# On a CPU two processes with a batch each; a GPU takes both batches together.
if command -v nvidia-smi > /dev/null && nvidia-smi -L > /dev/null 2>&1; then
  train=(python -m vla_adapter_ros.training.train batch_size=64 grounding.batch_size=32)
else
  train=(torchrun --standalone --nproc_per_node 2 -m vla_adapter_ros.training.train)
fi
train+=(--config tiny_sim "${subwords[@]}" "data.paraphrases=$run/paraphrases.yaml")

share() { echo $((($1 + ${#levels[@]} - 1) / ${#levels[@]})); }
join() { (IFS=,; echo "$*"); }
grounding=() sequence=() demonstrations=() takeovers=()
seed=0
for level in "${levels[@]}"; do
  grounding+=("${scenes}_$level") sequence+=("${scenes}_sequence_$level")
  demonstrations+=("${data}_$level") takeovers+=("${data}_takeovers_$level")
  # Images of all tasks, and more of the one whose sentences are hardest.
  "${render[@]}" "${scenes}_$level" "${asked[@]}" --level "$level" --images "$(share "$images")" --seed $((5000000 + seed))
  "${render[@]}" "${scenes}_sequence_$level" --level "$level" --task long_horizon \
    --images "$(share $((images * 3 / 8)))" --seed $((5200000 + seed))
  # The table of the demo, with one instruction after another; then all tasks.
  "${collect[@]}" "${data}_$level" --append --level "$level" --task tabletop \
    --episodes "$(share $(((episodes + 3) / 4)))" --seed $((1000000 + seed))
  "${collect[@]}" "${data}_$level" --append "${asked[@]}" --level "$level" --episodes "$(share "$episodes")" \
    --seed $((1000000 + seed))
  seed=$((seed + 50000))
done
if [ ! -e "$run/grounded/grounding.jsonl" ]; then
  python -m vla_adapter_ros.training.experiments.grounding.pretrain --config tiny_sim \
    --scenes "${grounding[@]}" "${sequence[@]}" --out "$run/grounded" --steps "${GROUND_STEPS:-5000}" \
    --reading-steps "${READING_STEPS:-800}" -- "${subwords[@]}"
fi
# Every sample has its instruction in new words.
say() { python -m vla_adapter_ros.simulation.paraphrases "$@" --out "$run/paraphrases.yaml"; }
say "${demonstrations[@]}"
"${train[@]}" "data.datasets=[$(join "${demonstrations[@]}")]" "start.grounded=$run/grounded" "output_dir=$run/first" \
  "steps=${FIRST_STEPS:-7500}"
newest() { find "$1/checkpoints" -maxdepth 1 -name 'step-*' | sort | tail -1; }
seed=0
for level in "${levels[@]}"; do
  "${collect[@]}" "${data}_takeovers_$level" --append "${taken[@]:-${asked[@]}}" \
    --level "$level" --takeover "$(newest "$run/first")" --episodes "$(share "${TAKEOVERS:-500}")" \
    --seed $((3000000 + seed))
  seed=$((seed + 50000))
done

say "${demonstrations[@]}" "${takeovers[@]}"
"${train[@]}" "data.datasets=[$(join "${demonstrations[@]}" "${takeovers[@]}")]" \
  "start.grounded=$run/grounded" "grounding.scenes=[$(join "${grounding[@]}" "${sequence[@]}")]" \
  "output_dir=$run" "$@"
for level in "${levels[@]}"; do
  python -m vla_adapter_ros.evaluation.simulate "$(newest "$run")" "${asked[@]}" --level "$level" --words varied \
    --episodes "$evaluated" --instruction-check $((evaluated / 5)) --workers "$(nproc)" \
    --out "$run/report_$level"
done
