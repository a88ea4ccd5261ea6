# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Additions of small networks to the paper's: stem, keypoints, FiLM by segment, initialisation."""
