# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The policy on another machine: a WebSocket server, and the client that is a policy."""
