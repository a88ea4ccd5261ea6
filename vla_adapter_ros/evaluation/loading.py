# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""How long loading a checkpoint takes, and how much memory at its peak."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from typing import Any

import torch

from vla_adapter_ros.model import VLAAdapter

# A process of its own: the peak must not hold anything but the loading.
PROGRAM = """
import json, sys, time
import torch
from vla_adapter_ros.evaluation.measure import peak_rss
from vla_adapter_ros.model import VLAAdapter
import vla_adapter_ros.model.vla
import transformers.models.qwen2.modeling_qwen2

start, before = time.perf_counter(), peak_rss()
model = VLAAdapter.from_pretrained(sys.argv[1], dtype=getattr(torch, sys.argv[2]))
seconds = time.perf_counter() - start
checksum = sum(float(p.flatten()[:: 4096].float().sum()) for p in model.parameters())
weights = sum(p.numel() * p.element_size() for p in model.parameters())
print(json.dumps({
    'dtype': sys.argv[2], 'seconds': seconds, 'start_gb': before / 1e9,
    'peak_gb': peak_rss() / 1e9, 'weights_gb': weights / 1e9,
    'ratio': peak_rss() / weights, 'checksum': checksum,
}))
"""


def measure_loading(model: VLAAdapter, dtypes: tuple[str, ...] = ('bfloat16', 'float32')) -> list:
    """Write `model`'s shape as a bfloat16 checkpoint, load it in new processes, and measure.

    The values are zeros where the model was quantised; loading does not look at them.

    Returns:
        One entry per dtype loaded as: seconds, peak and weights in GB, and their ratio.
    """
    with tempfile.TemporaryDirectory(prefix='vla_adapter_loading_') as directory:
        fresh = VLAAdapter.from_config(model.config, device='meta')
        fresh = fresh.to(torch.bfloat16).to_empty(device='cpu')
        with torch.no_grad():
            for parameter in fresh.parameters():
                parameter.fill_(0.5)
        fresh.save_pretrained(directory)
        del fresh
        return [_load(directory, dtype) for dtype in dtypes]


def _load(directory: str, dtype: str) -> dict[str, Any]:
    command = [sys.executable, '-c', PROGRAM, directory, dtype]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(result.stdout.splitlines()[-1])
