# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Shared fixtures. Fixed BLAS threads: the machines that run the tests are small."""

from __future__ import annotations

import os

os.environ.setdefault('OMP_NUM_THREADS', '1')
