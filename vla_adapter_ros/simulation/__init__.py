# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The MuJoCo Alicia-D, its tasks and its scripted expert."""
