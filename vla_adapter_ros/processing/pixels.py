# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Images on the device: copies, and crop and normalisation as a torch module."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from vla_adapter_ros.processing.images import ImageConfig, crop_positions


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor of the CPU on a device, without waiting for what the device does now.

    An ordinary copy waits for all work queued before it, a whole training step for instance.
    """
    if device.type != 'cuda':
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


class Pixels(nn.Module):
    """The centre crop and normalisation of `images.crop_and_normalise`, the same to the bit."""

    def __init__(self, config: ImageConfig) -> None:
        super().__init__()
        self.cropped = config.crop_area < 1.0
        low, high, part = crop_positions(config.size, config.crop_area)
        self.register_buffer('low', torch.from_numpy(low))
        self.register_buffer('high', torch.from_numpy(high))
        self.register_buffer('part', torch.from_numpy(part))
        mean, std = np.array(config.normalisations, np.float32).swapaxes(0, 1)
        self.register_buffer('mean', torch.from_numpy(mean.copy())[:, :, None, None])
        self.register_buffer('std', torch.from_numpy(std.copy())[:, :, None, None])

    def forward(self, images: Tensor) -> Tensor:
        """(B, n, S, S, 3) uint8 -> (B, 3·T·n, S, S) float32; cameras one after the other."""
        levels = images.permute(0, 1, 4, 2, 3).float()
        if self.cropped:
            levels = self._crop(levels)
        pixels = (levels[:, :, None] / 255 - self.mean) / self.std
        return pixels.flatten(1, 3)

    def _crop(self, levels: Tensor) -> Tensor:
        """Interpolate between the levels around each place, along rows and then along columns."""
        values = levels * (1 / 255)
        for axis, part in ((4, self.part), (3, self.part[:, None])):
            below = values.index_select(axis, self.low)
            values = (values.index_select(axis, self.high) - below) * part + below
        return (values * 255.5).floor().clamp(max=255)
