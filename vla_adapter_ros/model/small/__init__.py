# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What only the small network that ships adds to the paper's: stem, FiLM, initialisation."""
