# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""From observations to action chunks: `Policy`, and ways to run the network fast."""
