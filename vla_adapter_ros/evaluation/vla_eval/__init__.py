# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Policies served to the benchmarks of the PyPI package vla-eval."""
