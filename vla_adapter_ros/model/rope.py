# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Rotary position tables: the language model's, and the Pro policy's with its two quirks."""

from __future__ import annotations

import torch
from torch import Tensor


def language_tables(
    length: int, head_dim: int, theta: float, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Cosine and sine, each (1, length, head_dim): float32 trigonometry, then cast to `dtype`."""
    inverse = 1.0 / theta ** (torch.arange(0, head_dim, 2, device=device).float() / head_dim)
    angles = torch.arange(length, device=device).float()[:, None] * inverse
    angles = torch.cat((angles, angles), dim=-1)[None]
    return angles.cos().to(dtype), angles.sin().to(dtype)


def policy_tables(
    length: int, head_dim: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Cosine and sine of the Pro policy, each (length, head_dim), computed in `dtype` throughout.

    Quirk: casting the released module to bfloat16 casts its inverse frequencies too, and positions
    are counted in that dtype. Positions above 256 are then rounded (385 distinct values of 512),
    the angles too, by up to 1.7 in cosine. The released Pro weights were trained that way.
    """
    inverse = 1.0 / 10000 ** (torch.arange(0, head_dim, 2, device=device).float() / head_dim)
    positions = torch.arange(length, device=device).to(dtype)
    angles = positions[:, None] * inverse.to(dtype)
    # Quirk: the table repeats by halves [f, f] although the rotation pairs neighbours.
    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos(), angles.sin()


def rotate_interleaved(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Apply the Pro policy's tables to (..., length, head_dim).

    Quirk: channels 2i and 2i+1 are paired, but their table entries belong to different frequencies
    (half-concatenated tables), so this is not a rotation. The weights expect it as it is.
    """
    turned = torch.stack((-x[..., 1::2], x[..., 0::2]), dim=-1).flatten(-2)
    return x * cos + turned * sin
