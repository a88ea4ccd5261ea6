#!/usr/bin/env bash
# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
# CALVIN, and an environment for `python -m vla_adapter_ros.evaluation.calvin --calvin-python`.
#
#   scripts/calvin_env.sh [FOLDER]      # default: ~/calvin; PYTHON=python3.11 chooses the interpreter
#
# A checkout that is there already is used as it is. Only what the simulator needs is installed:
# CALVIN's own install.sh brings a torch of 2022 and packages that no longer build.
set -euo pipefail

folder="${1:-$HOME/calvin}"
python="${PYTHON:-python3}"
"$python" - <<'PY' || { echo "calvin_env.sh: needs Python 3.10 or 3.11, for PyBullet; set PYTHON" >&2; exit 1; }
import sys
sys.exit(sys.version_info[:2] not in ((3, 10), (3, 11)))
PY
if [ ! -e "$folder/calvin_env/conf" ]; then
  git clone --quiet https://github.com/mees/calvin "$folder"
  # Not the submodule of its submodule (touch sensors), which nothing here needs.
  git -C "$folder" submodule --quiet update --init calvin_env
fi
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'numpy<2' pybullet==3.2.7 'hydra-core>=1.1,<1.4' 'omegaconf>=2.1' \
  gym==0.26.2 scipy opencv-python-headless numpy-quaternion gitpython rich 'setuptools<81'
echo "CALVIN: $folder/venv/bin/python"
