# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""A tiny random network and inputs for it."""

from __future__ import annotations

import numpy as np
import torch

from vla_adapter_ros.model import VLAAdapter, VLAAdapterConfig
from vla_adapter_ros.processing.pipeline import ModelInputs


def network():
    torch.manual_seed(0)
    return VLAAdapter.from_config(VLAAdapterConfig.tiny())


def inputs(length=7, seed=0):
    random = np.random.default_rng(seed)
    return ModelInputs(
        random.standard_normal((12, 96, 96)).astype(np.float32),
        random.integers(0, 500, length),
        random.uniform(-1, 1, 7).astype(np.float32),
    )
