# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The nodes to start, for `ros2 launch` and `python -m vla_adapter_ros.nodes.bringup`."""
