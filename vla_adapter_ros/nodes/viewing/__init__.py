# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What shows a running arm: layouts for Foxglove and PlotJuggler, and rerun."""
