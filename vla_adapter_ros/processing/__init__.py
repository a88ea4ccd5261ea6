# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What surrounds the network: images, prompt, statistics. Shared by training and robot."""
