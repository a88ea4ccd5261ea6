# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Convolutional stem and keypoint token of small vision towers.

A tower trained from scratch on a few thousand demonstrations learns where things are far sooner
with a convolutional stem and a token of spatial-softmax keypoints than with patches alone.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vla_adapter_ros.architecture.config import VisionTowerConfig

KEYPOINT_STRIDE = 4  # [px] of the finest feature map that a conv stem gives the keypoints


class ConvStem(nn.Module):
    """Strided 3x3 convolutions down to the patch size, each normalised and FiLM-conditioned."""

    def __init__(self, config: VisionTowerConfig, film_width: int = 0) -> None:
        super().__init__()
        widths = self.widths(config)
        pairs = list(pairwise((3, *widths)))
        self.conditioned = film_width > 0
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairs)
        self.norms = nn.ModuleList(nn.GroupNorm(1, b) for _, b in pairs)
        self.films = nn.ModuleList(
            nn.Linear(film_width, 2 * b) if film_width else nn.Identity() for _, b in pairs
        )
        self.proj = nn.Conv2d(widths[-1], config.width, 1)

    def forward(
        self, pixels: Tensor, language: Tensor | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        """(B, 3, H, W) -> (B, patches, width) and the finest feature maps, finest first."""
        x, maps = pixels, []
        for step, (conv, norm, film) in enumerate(zip(self.convs, self.norms, self.films), 1):
            x = norm(conv(x))
            if self.conditioned:
                scale, shift = film(language)[..., None, None].chunk(2, dim=1)
                x = x * (1 + scale) + shift
            x = F.gelu(x)
            if 2**step >= KEYPOINT_STRIDE:
                maps.append(x)
        return self.proj(x).flatten(2).transpose(1, 2).contiguous(), maps

    @staticmethod
    def widths(config: VisionTowerConfig) -> list[int]:
        """Channels after each convolution."""
        steps = config.patch.bit_length() - 1
        return [max(16, config.width >> (steps - 1 - i)) for i in range(steps)]

    @staticmethod
    def map_widths(config: VisionTowerConfig) -> list[int]:
        """Channels of the feature maps that `forward` returns."""
        return ConvStem.widths(config)[KEYPOINT_STRIDE.bit_length() - 2 :]


class KeypointToken(nn.Module):
    """One token with the expected position of each of several learned maps in the image.

    Coarse feature maps tell objects apart, fine ones locate them: the maps are computed from their
    sum at the finest resolution. (From the finest alone, with its receptive field of 7 pixels, a
    policy distinguished colours but not shapes.)
    """

    def __init__(self, config: VisionTowerConfig) -> None:
        super().__init__()
        conv = config.stem == 'conv'
        sources = ConvStem.map_widths(config) if conv else [config.width]
        width = max(16, config.width // 2)
        self.laterals = nn.ModuleList(nn.Conv2d(source, width, 1) for source in sources)
        self.merge = nn.Conv2d(width, width, 3, padding=1)
        self.norm = nn.GroupNorm(1, width)
        self.maps = nn.Conv2d(width, config.keypoints, 1)
        self.token = nn.Linear(3 * config.keypoints, config.width)

    def forward(self, feature_maps: list[Tensor]) -> Tensor:
        """(B, C, h, w) maps, the finest first -> (B, 1, width)."""
        x = self.laterals[-1](feature_maps[-1])
        for lateral, finer in zip(self.laterals[-2::-1], feature_maps[-2::-1]):
            x = lateral(finer) + F.interpolate(x, finer.shape[-2:])
        scores = self.maps(F.gelu(self.norm(self.merge(F.gelu(x)))))
        height, width = scores.shape[-2:]
        mass = scores.flatten(2).softmax(dim=-1).unflatten(-1, (height, width))
        across = torch.linspace(-1, 1, width, device=mass.device, dtype=mass.dtype)
        down = torch.linspace(-1, 1, height, device=mass.device, dtype=mass.dtype)
        x, y = (mass.sum(-2) * across).sum(-1), (mass.sum(-1) * down).sum(-1)
        # The peak is the map's confidence: its object may not be in the image.
        return self.token(torch.cat((x, y, mass.flatten(2).amax(-1)), dim=-1))[:, None]
