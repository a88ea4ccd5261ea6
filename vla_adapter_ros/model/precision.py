# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Where 16-bit numbers and autocast are in the way of speed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor
from torch.nn import functional as F

_place = {'as on a GPU': False}  # read by compiled code, which cannot read a ContextVar
# torch 2.6 cannot tell an export from another compilation.
_exporting = getattr(torch.compiler, 'is_exporting', torch.compiler.is_compiling)


@contextmanager
def as_on_a_gpu() -> Iterator[None]:
    """Return a context in which the CPU keeps what a GPU keeps, to measure the memory."""
    before, _place['as on a GPU'] = _place['as on a GPU'], True
    try:
        yield
    finally:
        _place['as on a GPU'] = before


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


def attention(
    query: Tensor, key: Tensor, value: Tensor, is_causal: bool = False, mask: Tensor | None = None
) -> Tensor:
    """Scaled dot-product attention (B, heads, N, head_dim) in the dtype of `query`.

    `mask` (B or 1, 1, 1, N): True for the keys that are read; None: all.
    """
    if _exporting() and query.shape[1] == query.shape[2] > 1:
        # With as many queries as heads, OpenVINO's CPU engine (2026.4) confuses the two where it
        # fuses attention with the transpositions around it. One query more prevents that.
        return attention(F.pad(query, (0, 0, 0, 1)), key, value, is_causal, mask)[:, :, :-1]
    arguments = (query, key, value)
    narrow = query.dtype in (torch.bfloat16, torch.float16)
    if narrow and query.device.type == 'cpu' and query.requires_grad and not _place['as on a GPU']:
        # The CPU's backward pass in 16 bit takes ten times as long as in float32.
        with without_autocast(query):
            wide = (tensor.float() for tensor in arguments)
            mixed = F.scaled_dot_product_attention(*wide, attn_mask=mask, is_causal=is_causal)
            return mixed.to(query.dtype)
    return F.scaled_dot_product_attention(*arguments, attn_mask=mask, is_causal=is_causal)
