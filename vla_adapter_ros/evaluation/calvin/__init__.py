# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Chains of tasks on CALVIN by the protocol of the official VLA-Adapter evaluation."""
