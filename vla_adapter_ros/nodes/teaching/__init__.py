# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Nodes that move the arm without a policy: teaching and the first motion."""
