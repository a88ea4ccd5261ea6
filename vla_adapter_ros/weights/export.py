# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Export a checkpoint for other engines, beside the other commands on weights.

    python -m vla_adapter_ros.weights.export CKPT --format onnx --output exported/reach

Exporting runs the network, so the code is in a room above this one: `inference/export.py`.
"""

from __future__ import annotations

import runpy

if __name__ == '__main__':
    runpy.run_module('vla_adapter_ros.inference.export', run_name='__main__', alter_sys=True)
