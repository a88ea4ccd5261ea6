# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""From action chunks to smooth motion: splines, plans and the chunk scheduler."""
