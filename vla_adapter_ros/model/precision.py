# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Where autocast is in the way: layers whose weights are 16 bit wide already."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def without_autocast(like: Tensor) -> AbstractContextManager[None]:
    """Return a context without autocast on the device of `like`."""
    kind = like.device.type
    if not torch.amp.is_autocast_available(kind) or not torch.is_autocast_enabled(kind):
        return nullcontext()
    return torch.autocast(kind, enabled=False)


def in_weights_dtype(weight: Tensor) -> AbstractContextManager[None]:
    """Return a context in which layers with weights like this one compute in their dtype.

    Autocast would widen the input of every norm to float32 and narrow it again; the kernels of
    norms accumulate in float32 anyway. Float32 weights stay with autocast.
    """
    return nullcontext() if weight.dtype == torch.float32 else without_autocast(weight)
