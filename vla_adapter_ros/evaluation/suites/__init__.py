# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What the public benchmarks share: workers in another interpreter, results, comparisons."""
