# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""`make demo`: the policy on the simulated arm, with film, plot and summary."""
