# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Moving the arm by hand: jogging and a leader arm. No ROS."""
