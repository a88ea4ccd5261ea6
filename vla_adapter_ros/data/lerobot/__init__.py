# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Datasets in the LeRobot v3 format: reading and writing."""
