# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Episodes as MCAP bags: recording, reading and recovery."""
