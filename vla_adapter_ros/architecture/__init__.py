# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The shape of a network: configuration dataclasses and named sizes. No torch."""
