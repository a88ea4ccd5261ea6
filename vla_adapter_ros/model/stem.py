# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""How an image becomes tokens: the released patch convolution, and two aids for small policies.

A tower trained from nothing on a few thousand demonstrations learns where things are far sooner
with a convolutional stem and a token of spatial-softmax keypoints than with patches alone.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .config import VisionTowerConfig

KEYPOINT_STRIDE = 4  # of the feature map that a conv stem gives the keypoints, in pixels


class PatchEmbed(nn.Module):
    """Non-overlapping patches through one convolution (the released form)."""

    def __init__(self, config: VisionTowerConfig) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, config.width, config.patch, stride=config.patch)

    def forward(self, pixels: Tensor, language: Tensor | None = None) -> tuple[Tensor, None]:
        """(B, 3, H, W) -> (B, patches, width), rows first, and no feature map."""
        return self.proj(pixels).flatten(2).mT, None


class ConvStem(nn.Module):
    """Strided 3x3 convolutions down to the patch size, each normalised and FiLM-conditioned."""

    def __init__(self, config: VisionTowerConfig, film_width: int = 0) -> None:
        super().__init__()
        steps = config.patch.bit_length() - 1
        widths = [3] + [max(16, config.width >> (steps - 1 - i)) for i in range(steps)]
        pairs = list(pairwise(widths))
        self.conditioned = film_width > 0
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairs)
        self.norms = nn.ModuleList(nn.GroupNorm(1, b) for _, b in pairs)
        self.films = nn.ModuleList(
            nn.Linear(film_width, 2 * b) if film_width else nn.Identity() for _, b in pairs
        )
        self.proj = nn.Conv2d(widths[-1], config.width, 1)

    def forward(self, pixels: Tensor, language: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W) -> (B, patches, width) and the map at stride `KEYPOINT_STRIDE`."""
        x, stride, fine = pixels, 1, pixels
        for conv, norm, film in zip(self.convs, self.norms, self.films):
            x, stride = norm(conv(x)), 2 * stride
            if self.conditioned:
                scale, shift = film(language)[..., None, None].chunk(2, dim=1)
                x = x * (1 + scale) + shift
            x = F.gelu(x)
            fine = x if stride <= KEYPOINT_STRIDE else fine
        return self.proj(x).flatten(2).mT, fine

    @staticmethod
    def map_width(config: VisionTowerConfig) -> int:
        """Channels of the feature map that `forward` returns."""
        steps = config.patch.bit_length() - 1
        return max(16, config.width >> (steps - KEYPOINT_STRIDE.bit_length() + 1))


class KeypointToken(nn.Module):
    """One token holding where in the image each of several learned maps has its mass."""

    def __init__(self, config: VisionTowerConfig) -> None:
        super().__init__()
        source = ConvStem.map_width(config) if config.stem == 'conv' else config.width
        self.maps = nn.Conv2d(source, config.keypoints, 1)
        self.token = nn.Linear(2 * config.keypoints, config.width)

    def forward(self, feature_map: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, 1, width)."""
        height, width = feature_map.shape[-2:]
        mass = self.maps(feature_map).flatten(2).softmax(dim=-1).unflatten(-1, (height, width))
        across = torch.linspace(-1, 1, width, device=mass.device, dtype=mass.dtype)
        down = torch.linspace(-1, 1, height, device=mass.device, dtype=mass.dtype)
        x, y = (mass.sum(-2) * across).sum(-1), (mass.sum(-1) * down).sum(-1)
        return self.token(torch.cat((x, y), dim=-1))[:, None]
