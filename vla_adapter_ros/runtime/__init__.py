# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""One control loop without ROS: policy, chunk scheduler, safety filter, robot contract."""
