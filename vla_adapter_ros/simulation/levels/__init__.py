# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""How much the simulation varies: `nominal`, `bench` and `hard`."""
