# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Shared fixtures. Fixed BLAS threads: the machines that run the tests are small."""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')
sys.path.insert(0, str(Path(__file__).parent))
