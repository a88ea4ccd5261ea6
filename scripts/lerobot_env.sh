#!/usr/bin/env bash
# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
# An environment with the lerobot library, in which `make test-slow` checks that it reads what we
# write, that we edit what it writes, and that it runs our checkpoints (docs/lerobot.md).
#
#   scripts/lerobot_env.sh [FOLDER]      # default: ~/lerobot; PYTHON=python3.12 chooses the interpreter
#
# lerobot 0.6.1 from Python 3.12 on, 0.4.4 before. 6 to 8 GB with CUDA, less with
# TORCH_INDEX=https://download.pytorch.org/whl/cpu. Not in this package's own environment: lerobot
# asks for an older torch and PyAV.
set -euo pipefail

folder="${1:-$HOME/lerobot}"
"${PYTHON:-python3}" -m venv "$folder"
install() { "$folder/bin/pip" install --quiet ${TORCH_INDEX:+"--extra-index-url=$TORCH_INDEX"} "$@"; }

if "$folder/bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 12))'; then
  install 'lerobot[dataset]==0.6.1' pytest
else
  install 'lerobot==0.4.4' pytest
fi
# Without torchcodec, which needs the system's FFmpeg, lerobot decodes with PyAV.
"$folder/bin/pip" uninstall --quiet --yes torchcodec
# What this package imports beside lerobot's own requirements.
install google-crc32c h5py isal matplotlib mcap 'mujoco>=3.1,<4' pin protobuf rosbags simplejpeg tokenizers
echo "lerobot: $folder/bin/python"
