#!/usr/bin/env bash
# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
# An environment with the lerobot library, in which `make test-slow` checks that it reads what we
# write and that we edit what it writes (test/data/test_lerobot_library.py).
#
#   scripts/lerobot_env.sh [FOLDER]      # default: ~/lerobot; PYTHON=python3.11 chooses the interpreter
#
# 8 GB with CUDA, less with TORCH_INDEX=https://download.pytorch.org/whl/cpu. Not in this package's
# own environment: lerobot asks for an older torch and PyAV.
set -euo pipefail

folder="${1:-$HOME/lerobot}"
"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/pip" install --quiet ${TORCH_INDEX:+"--extra-index-url=$TORCH_INDEX"} \
  'lerobot==0.4.4' pytest
# Ours; pip warns that lerobot asks for 15. Without torchcodec, which needs the system's FFmpeg,
# lerobot decodes with PyAV.
"$folder/bin/pip" install --quiet 'av>=17'
"$folder/bin/pip" uninstall --quiet --yes torchcodec
echo "lerobot: $folder/bin/python"
