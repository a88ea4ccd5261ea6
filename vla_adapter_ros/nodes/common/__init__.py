# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Shared by several nodes: messages, parameters, start-up and clients."""
