# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What several nodes share: messages, parameters, start-up and clients."""
