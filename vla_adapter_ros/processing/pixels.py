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


def normalisation(config: ImageConfig) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each tower's channels, (T, 3, 1, 1)."""
    mean, std = torch.tensor(config.normalisations)[..., None, None].unbind(1)
    return mean.contiguous(), std.contiguous()


def normalise(levels: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Levels (…, 3, S, S) of 0 to 255 -> (…, T, 3, S, S): what each tower reads."""
    return ((levels / 255).unsqueeze(-4) - mean) / std


class Pixels(nn.Module):
    """The centre crop and normalisation of `images.crop_and_normalise`, the same to the bit."""

    def __init__(self, config: ImageConfig) -> None:
        super().__init__()
        self.cropped = config.crop_area < 1.0
        low, high, part = crop_positions(config.size, config.crop_area)
        # One look-up for both neighbours of each place: a kernel less.
        self.register_buffer('around', torch.from_numpy(np.concatenate((low, high))))
        self.register_buffer('part', torch.from_numpy(part))
        mean, std = normalisation(config)
        self.register_buffer('mean', mean)
        self.register_buffer('std', std)

    def forward(self, images: Tensor) -> Tensor:
        """(B, n, S, S, 3) uint8 -> (B, 3·T·n, S, S) float32; cameras one after the other."""
        levels = images.permute(0, 1, 4, 2, 3)
        if self.cropped:
            levels = self._crop(levels)
        return normalise(levels, self.mean, self.std).flatten(1, 3)

    def _crop(self, levels: Tensor) -> Tensor:
        """Interpolate between the levels around each place, along rows and then along columns."""
        values = levels * (1 / 255)
        for axis, part in ((4, self.part), (3, self.part[:, None])):
            below, above = values.index_select(axis, self.around).chunk(2, axis)
            values = (above - below) * part + below
        # Interpolation stays inside [0, 1]: at most 255.5, never 256.
        return (values * 255.5).floor()
