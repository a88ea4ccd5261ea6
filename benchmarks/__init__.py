# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Speed and data benchmarks, run from the checkout: `python -m benchmarks.NAME --help`."""
