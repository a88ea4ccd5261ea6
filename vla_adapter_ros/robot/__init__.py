# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The robot contract and what follows from it: cameras, limits, kinematics, joint states."""
