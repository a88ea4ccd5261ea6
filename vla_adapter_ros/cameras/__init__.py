# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Cameras without ROS: open, read the newest frame, reconnect. The nodes only publish."""
