# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What the tests share: recorded cases, sample data, fakes of hardware, and a ROS harness."""
