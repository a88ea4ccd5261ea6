# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Convolutional stem and keypoint token of small vision towers.

A tower trained from scratch on a few thousand demonstrations learns where things are far sooner
with a convolutional stem and a token of spatial-softmax keypoints than with patches alone.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vla_adapter_ros.architecture.config import VisionTowerConfig
from vla_adapter_ros.model.small.positions import around_peak, mean_position
from vla_adapter_ros.model.small.turn import Turn

KEYPOINT_STRIDE = 4  # [px] of the finest feature map that a conv stem gives the keypoints


def channels_inside(images: Tensor) -> Tensor:
    """Return images (B, C, H, W) with the channels of a pixel beside each other, on a CPU.

    Convolutions of few channels take two thirds of the time there; layers behind keep the layout.
    """
    if images.device.type != 'cpu':
        return images
    return images.contiguous(memory_format=torch.channels_last)


def conditioned_norm(x: Tensor, norm: nn.GroupNorm, film: Tensor) -> Tensor:
    """Norm over all of an image (B, C, H, W), then FiLM's scale and shift (B, 2·C)."""
    scale, shift = film.chunk(2, dim=1)
    trains = torch.is_grad_enabled() and x.requires_grad and not torch.compiler.is_compiling()
    if trains and x.device.type == 'cpu' and x.dtype == norm.weight.dtype:
        factor, offset = norm.weight * (1 + scale), norm.bias * (1 + scale) + shift
        return _NormAffine.apply(x, factor, offset, norm.eps)
    return torch.addcmul(shift[..., None, None], norm(x), 1 + scale[..., None, None])


class _NormAffine(torch.autograd.Function):
    """Norm of each image, then a factor and an offset (B, C): half the passes over the image."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: Tensor, offset: Tensor, eps: float) -> Tensor:
        rows = x.permute(0, 2, 3, 1)  # a view with the channels inside
        shape = rows.shape[1:]
        normed, _, rstd = torch.native_layer_norm(rows, shape, None, None, eps)
        normed, rstd = normed.flatten(1, 2), rstd.view(-1, 1, 1)  # (B, H·W, C), (B, 1, 1)
        ctx.save_for_backward(normed, rstd, factor)
        result = torch.addcmul(offset[:, None], normed, factor[:, None])
        return result.view(len(x), *shape).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        normed, rstd, factor = ctx.saved_tensors
        shape = gradients[0].permute(0, 2, 3, 1).shape
        gradient = gradients[0].permute(0, 2, 3, 1).flatten(1, 2)
        to_offset, to_factor = gradient.sum(1), (gradient * normed).sum(1)
        count = normed[0].numel()
        mean = (factor * to_offset).sum(1)[:, None, None] / count
        along = (factor * to_factor).sum(1)[:, None, None] / count
        # Not addcmul: with two factors that are spread over an image it takes 1.7 times as long.
        to_x = (normed * (-rstd * along)).sub_(rstd * mean)
        to_x.addcmul_(gradient, rstd * factor[:, None])
        return to_x.view(shape).permute(0, 3, 1, 2), to_factor, to_offset, None


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
        x, maps = channels_inside(pixels), []
        for step, (conv, norm, film) in enumerate(zip(self.convs, self.norms, self.films), 1):
            x = conv(x)
            x = conditioned_norm(x, norm, film(language)) if self.conditioned else norm(x)
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

    def __init__(
        self, config: VisionTowerConfig, film_width: int = 0, cameras: int = 1
    ) -> None:
        super().__init__()
        conv = config.stem == 'conv'
        sources = ConvStem.map_widths(config) if conv else [config.width]
        width = max(16, config.width // 2)
        self.laterals = nn.ModuleList(nn.Conv2d(source, width, 1) for source in sources)
        hidden = config.keypoint_hidden
        # As in ConvNeXt (arXiv 2201.03545): sees a whole object for little computation.
        self.refine = nn.Sequential(
            nn.Conv2d(width, width, 7, padding=3, groups=width),
            nn.Conv2d(width, hidden, 1), nn.GELU(), nn.Conv2d(hidden, width, 1),
        ) if hidden else None  # fmt: skip
        self.merge = nn.Conv2d(width, width, 3, padding=1)
        self.norm = nn.GroupNorm(1, width)
        self.maps = nn.Conv2d(width, config.keypoints, 1)
        self.token = nn.Linear(3 * config.keypoints, config.width)
        self.local = config.local_keypoints
        # Added to the first maps' own filters.
        asked = config.asked_keypoints
        self.filters = nn.Linear(film_width, asked * width) if asked else None
        hidden = config.turn_hidden
        self.turn = Turn(width, film_width, hidden, cameras) if hidden else None

    def forward(self, feature_maps: list[Tensor], language: Tensor | None = None) -> Tensor:
        """(B, C, h, w) maps, the finest first, and FiLM's vector -> (B, 1, width)."""
        scores = self.scores(feature_maps, language)
        height, width = scores.shape[-2:]
        mass = scores.flatten(2).softmax(dim=-1).unflatten(-1, (height, width))
        # The peak is the map's confidence: its object may not be in the image.
        peak = mass.flatten(2).amax(-1)
        if self.local:
            mass = torch.cat((around_peak(mass[:, : self.local]), mass[:, self.local :]), dim=1)
        return self.token(torch.cat((*mean_position(mass), peak), dim=-1))[:, None]

    def scores(self, feature_maps: list[Tensor], language: Tensor | None = None) -> Tensor:
        """(B, C, h, w) maps, the finest first -> scores (B, keypoints, h, w) of the finest."""
        x = self.laterals[-1](feature_maps[-1])
        for lateral, finer in zip(self.laterals[-2::-1], feature_maps[-2::-1]):
            x = lateral(finer) + F.interpolate(x, finer.shape[-2:])
        if self.refine is not None:
            x = x + self.refine(x)
        x = F.gelu(self.norm(self.merge(F.gelu(x))))
        scores = self.maps(x) if self.filters is None else self._asked(x, language)
        return scores if self.turn is None else self.turn(x, scores, language)

    def _asked(self, x: Tensor, language: Tensor | None) -> Tensor:
        """Return the scores of features, with the filters that the sentence asks for."""
        asked = self.filters(language).unflatten(1, (-1, x.shape[1]))
        own = self.maps.weight.flatten(1)
        filters = F.pad(asked, (0, 0, 0, len(own) - asked.shape[1])) + own  # (B, keypoints, C)
        # Rows of channels, as they lie in memory: their gradient has the layout of the others.
        scores = torch.baddbmm(self.maps.bias, x.flatten(2).mT, filters.mT)
        return scores.mT.unflatten(2, x.shape[2:])
