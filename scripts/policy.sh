#!/usr/bin/env bash
# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
#
# A policy for the simulated arm from scratch: images, demonstrations and grounded encoders, then
# rounds of training. Each round goes on from the one before; before each but the first, the policy
# drives and the expert takes over, and these demonstrations join the others. Then success rates.
# Interrupt and run it again: each part continues where it stopped.
#
#   RUN=runs/mine scripts/policy.sh [key=value...]      settings of all trainings, e.g. batch_size=16
#
# More rounds go on from a finished policy; what is there is kept:
#   ROUNDS='1300 900 1600 2800 3600 2400' scripts/policy.sh
#
# A quick look at all parts, in minutes (the policy is no good):
#   IMAGES=400 EPISODES=8 READING_STEPS=20 GROUND_STEPS=50 ROUNDS='50 50' TAKEOVERS=2 EVALUATED=2 \
#     RUN=runs/look DATA=datasets/look scripts/policy.sh save.every=50
#
# TASKS='reach move pick_and_place stack long_horizon put_in put_on' adds kitchen things;
# LEVELS=nominal is one level; SUBWORDS= trains a word list instead of subwords.
set -euo pipefail
cd "$(dirname "$0")/.."

data=${DATA:-datasets/tiny_sim}
run=${RUN:-runs/tiny_sim}
scenes=${data}_scenes
images=${IMAGES:-4800}
episodes=${EPISODES:-240} # of each task
rounds=(${ROUNDS:-1300 900 1600 2800 3600}) # steps of training
takeover_episodes=${TAKEOVERS:-60} # of each task in each round
evaluated=${EVALUATED:-40} # scenes of each task at each level
levels=(${LEVELS:-nominal bench hard}) # each has its share of images, demonstrations and takeovers
tasks=(${TASKS:-reach move pick_and_place stack long_horizon})
asked=() taken=() # arguments; a first policy reaches well: no takeovers of that
for task in "${tasks[@]}"; do
  asked+=(--task "$task")
  if [ "$task" != reach ]; then taken+=(--task "$task"); fi
done
tokenizer=() spelled=()
if [ -n "${SUBWORDS-yes}" ]; then tokenizer=(tokenizer=subwords) spelled=(data.spelled_words=0.05); fi
collect=(python -m vla_adapter_ros.simulation.collect --image-size 96 --storage image --words varied)
render=(python -m vla_adapter_ros.training.experiments.grounding.render_scenes --words varied)
# On a CPU two processes with a batch and half of the cores each; a GPU takes both batches together.
if command -v nvidia-smi > /dev/null && nvidia-smi -L > /dev/null 2>&1; then
  train=(python -m vla_adapter_ros.training.train batch_size=64 grounding.batch_size=12)
else
  threads=${OMP_NUM_THREADS:-$((($(nproc) + 1) / 2))}
  train=(env "OMP_NUM_THREADS=$threads" torchrun --standalone --nproc_per_node 2
    -m vla_adapter_ros.training.train grounding.batch_size=6 "compute.threads=$threads")
fi
train+=(--config tiny_sim "${spelled[@]}")

parts=$((${#levels[@]} * (2 + ${#rounds[@]}) + 1 + ${#rounds[@]})) part=0
part() {
  part=$((part + 1))
  echo "policy: part $part of $parts: $* ($((SECONDS / 60)) min so far)"
}
share() { echo $((($1 + ${#levels[@]} - 1) / ${#levels[@]})); }
join() { (IFS=,; echo "$*"); }
grounding=() sequence=() datasets=() weights=()
seed=0
for level in "${levels[@]}"; do
  grounding+=("${scenes}_$level") sequence+=("${scenes}_sequence_$level")
  datasets+=("${data}_$level") weights+=(1)
  part "images with sentences, $level"
  # Images of all tasks, and more of the one whose sentences are hardest.
  "${render[@]}" "${scenes}_$level" "${asked[@]}" --level "$level" --images "$(share "$images")" --seed $((5000000 + seed))
  "${render[@]}" "${scenes}_sequence_$level" --level "$level" --task long_horizon \
    --images "$(share $((images * 3 / 8)))" --seed $((5200000 + seed))
  part "demonstrations, $level"
  # The table of the demo, with one instruction after another; then all tasks.
  "${collect[@]}" "${data}_$level" --append --level "$level" --task tabletop \
    --episodes "$(share $(((episodes + 3) / 4)))" --seed $((1000000 + seed))
  "${collect[@]}" "${data}_$level" --append "${asked[@]}" --level "$level" --episodes "$(share "$episodes")" \
    --seed $((1000000 + seed))
  seed=$((seed + 50000))
done
part 'grounding: the encoders learn where named objects are'
if [ ! -e "$run/grounded/grounding.jsonl" ]; then
  python -m vla_adapter_ros.training.experiments.grounding.pretrain --config tiny_sim \
    --scenes "${grounding[@]}" "${sequence[@]}" --out "$run/grounded" --steps "${GROUND_STEPS:-1600}" \
    --reading-steps "${READING_STEPS:-600}" -- "${tokenizer[@]}"
fi
start=("start.grounded=$run/grounded" "${tokenizer[@]}")
for number in "${!rounds[@]}"; do
  out=$run/round_$((number + 1))
  if [ "$number" -gt 0 ]; then
    seed=$((2800000 + number * 200000))
    for level in "${levels[@]}"; do
      part "takeovers after round $number, $level"
      takeovers=${data}_takeovers_${number}_$level
      # Where its training has begun they are complete; episodes that gave none would be tried again.
      if [ ! -e "$out/metrics.jsonl" ]; then
        "${collect[@]}" "$takeovers" --append "${taken[@]:-${asked[@]}}" --level "$level" \
          --takeover "$policy" --episodes "$(share "$takeover_episodes")" --seed "$seed"
      fi
      datasets+=("$takeovers") weights+=(2)
      seed=$((seed + 50000))
    done
  fi
  part "training, round $((number + 1)) of ${#rounds[@]}"
  # The first two rounds are for their takeovers; in each later one the learning rate falls to 0.
  settings=(schedule.kind=constant)
  if [ "$number" -ge 2 ]; then settings=(optimizer.kind=muon optimizer.lr=7e-4); fi
  # Every sample has its instruction in new words.
  words=$run/paraphrases_$((number + 1)).yaml
  python -m vla_adapter_ros.simulation.paraphrases "${datasets[@]}" --out "$words"
  "${train[@]}" "${start[@]}" "${settings[@]}" "data.paraphrases=$words" \
    "data.datasets=[$(join "${datasets[@]}")]" "data.weights=[$(join "${weights[@]}")]" \
    "grounding.scenes=[$(join "${grounding[@]}" "${sequence[@]}")]" \
    "steps=${rounds[number]}" "output_dir=$out" "$@"
  policy=$(find "$out/checkpoints" -maxdepth 1 -name 'step-*' | sort | tail -1)
  start=(start.kind=checkpoint "start.path=$policy")
done
for level in "${levels[@]}"; do
  part "success rates, $level"
  python -m vla_adapter_ros.evaluation.simulate "$policy" "${asked[@]}" --level "$level" --words varied \
    --episodes "$evaluated" --instruction-check $((evaluated / 5)) --workers "$(nproc)" \
    --out "$out/report_$level"
done
echo "policy: $policy, judged in $out/report_*/report.md ($((SECONDS / 60)) min in all)"
