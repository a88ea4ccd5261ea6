# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""From episodes to training samples: datasets, mixtures and the frame cache."""
