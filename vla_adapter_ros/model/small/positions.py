# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Positions of spatial-softmax maps."""

from __future__ import annotations

import torch
from torch import Tensor

PEAK_RADIUS = 3  # cells around the peak of a map that make its position


def mean_position(mass: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean x and y (B, K) of maps (B, K, h, w) of sum one, each from -1 to 1."""
    height, width = mass.shape[-2:]
    across = torch.linspace(-1, 1, width, device=mass.device, dtype=mass.dtype)
    down = torch.linspace(-1, 1, height, device=mass.device, dtype=mass.dtype)
    return (mass.sum(-2) * across).sum(-1), (mass.sum(-1) * down).sum(-1)


def around_peak(mass: Tensor) -> Tensor:
    """Return maps (B, K, h, w) of sum one with the mass near their peaks only.

    A map that is not sure of its object has mass on others, too, and its mean lies between them,
    where nothing is: a tenth of the mass on an object 15 cm away moves the grasp by 15 mm.
    """
    height, width = mass.shape[-2:]
    place = mass.detach().flatten(2).argmax(-1)[..., None]
    row, column = place // width, place % width
    down = (torch.arange(height, device=mass.device) - row).abs() <= PEAK_RADIUS
    across = (torch.arange(width, device=mass.device) - column).abs() <= PEAK_RADIUS
    local = mass * (down[..., :, None] & across[..., None, :]).to(mass.dtype)
    return local / local.sum(dim=(-2, -1), keepdim=True)
