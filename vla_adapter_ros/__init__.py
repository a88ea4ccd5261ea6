# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""VLA-Adapter policies on real arms through ROS 2: model, runtime, data, training, simulation."""

from __future__ import annotations

from pkgutil import extend_path

# The generated `vla_adapter_ros.msg` and `.srv` packages live in the colcon install tree. Without
# this line a checkout on sys.path (pytest from the repository root) would hide them.
__path__ = extend_path(__path__, __name__)

__version__ = '0.1.0'
