# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Our checkpoints in the lerobot library: its policy plug-in, and their export for it.

lerobot finds the plug-in by `--policy.discover_packages_path=vla_adapter_ros.lerobot_policy` and
imports every module of this folder. `features` and `export` work without lerobot.
"""
