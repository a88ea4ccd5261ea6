# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""ROS 2 nodes: the only place that imports rclpy."""
