# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What a launch starts, for `ros2 launch` and `python -m vla_adapter_ros.nodes.bringup`."""
