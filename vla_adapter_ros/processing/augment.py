# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Training augmentation, equal to the official TensorFlow operations, batched in torch.

Runs where the tensors are (on a GPU in the training loop). Colour functions follow `tf.image`;
the order and ranges are those of the official dataset code (`datasets.py`, frame transforms):
crop of 90 % of the area, brightness ±0.2, contrast and saturation 0.8 to 1.2, hue ±0.05.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vla_adapter_ros.processing.images import ImageConfig
from vla_adapter_ros.processing.pixels import normalisation, normalise, to_device

_SMALLEST = 1e-30  # never divided by less


@dataclass(frozen=True)
class AugmentConfig:
    """Ranges of the random changes, drawn for every image.

    Attributes:
        crop_area: area of the random crop; evaluation crops the same area in the centre.
        brightness: largest shift, in units of full scale.
        contrast, saturation: (smallest, largest) factor.
        hue: largest shift, in turns.
        diagonal_crops: the official code seeds both offsets of the crop equally, so that its crops
            lie on the image's diagonal only. True reproduces this fault.
    """

    crop_area: float = 0.9
    brightness: float = 0.2
    contrast: tuple[float, float] = (0.8, 1.2)
    saturation: tuple[float, float] = (0.8, 1.2)
    hue: float = 0.05
    diagonal_crops: bool = False


def augment(
    images: Tensor, config: AugmentConfig, generator: torch.Generator | None = None
) -> Tensor:
    """Return randomly changed images.

    Args:
        images: (N, 3, H, W) uint8; every image gets its own draw.
        config: the ranges.
        generator: source of randomness on the CPU; default: torch's own.

    Returns:
        (N, 3, H, W) uint8, as the official code stores them before normalising.
    """
    count = images.shape[0]

    side = config.crop_area**0.5
    brightness, hue = config.brightness, config.hue
    ranges = torch.tensor([
        (0.0, 1.0 - side), (0.0, 1.0 - side), (-brightness, brightness),
        config.contrast, config.saturation, (-hue, hue),
    ])  # fmt: skip
    drawn = torch.stack([torch.rand(count, generator=generator) for _ in ranges])
    low, high = ranges[:, :1], ranges[:, 1:]
    values = to_device(drawn * (high - low) + low, images.device)
    top, left, brightness, contrast, saturation, hue = values
    # Colours one after the other: values beside each other are computed together.
    x = images.contiguous().float().mul_(1.0 / 255.0)
    if side < 1.0:
        boxes = torch.stack([top, top if config.diagonal_crops else left], dim=1)
        x = crop_and_resize(x, boxes, side)
    x = adjust_brightness(x, brightness).clamp_(0, 1)
    x = adjust_contrast(x, contrast).clamp_(0, 1)
    x = adjust_saturation(x, saturation).clamp_(0, 1)
    return to_uint8(adjust_hue(x, hue))


def to_uint8(images: Tensor) -> Tensor:
    """Return floor(x · 255.5) of images in [0, 1], as `tf.image.convert_image_dtype`."""
    return (images * 255.5).clamp_(0, 255).to(torch.uint8)


def normalise_pixels(images: Tensor, config: ImageConfig) -> Tensor:
    """Normalise (N, 3, H, W) uint8 to (N, 3·T, H, W) float32, as `images.crop_and_normalise`."""
    # Not by looking up the 256 levels, which takes five times as long.
    mean, std = (to_device(values, images.device) for values in normalisation(config))
    return normalise(images.float(), mean, std).flatten(1, 2)


def crop_and_resize(images: Tensor, offsets: Tensor, side: float | Tensor) -> Tensor:
    """Crop boxes and resize them back to the image's size: bilinear between aligned corners.

    Args:
        images: (N, C, H, W) float.
        offsets: (N, 2) top and left of each box, as fractions of the image.
        side: side of the boxes as a fraction; `offsets + side` may reach 1.
    """
    _, _, height, width = images.shape
    rows = _interpolation(height, offsets[:, 0], side)
    columns = _interpolation(width, offsets[:, 1], side)
    return rows @ images @ columns.transpose(-1, -2)


def _interpolation(size: int, offset: Tensor, side: float | Tensor) -> Tensor:
    """Return (N, 1, size, size) matrices that interpolate linearly along one axis."""
    steps = torch.arange(size, device=offset.device, dtype=torch.float32)
    position = (offset[:, None] * (size - 1) + steps * side).clamp(0, size - 1)
    distance = (position[:, :, None] - steps).abs()
    return (1.0 - distance).clamp(min=0)[:, None]


def adjust_brightness(images: Tensor, delta: Tensor) -> Tensor:
    """Add `delta` (N,) to images (N, 3, H, W) in [0, 1]."""
    return images + delta.view(-1, 1, 1, 1)


def adjust_contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Scale the distance from each channel's own mean by `factor` (N,)."""
    mean = images.mean(dim=(2, 3), keepdim=True)
    return (images - mean).mul_(factor.view(-1, 1, 1, 1)).add_(mean)


def adjust_saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Scale the saturation (HSV) by `factor` (N,), at most to 1.

    Hue and value stay, so every channel moves away from the largest one by the same factor.
    """
    value, spread = _value_and_spread(images)
    most = value / spread.clamp(min=_SMALLEST)
    factor = torch.minimum(most, factor.view(-1, 1, 1))
    return (images - value[:, None]).mul_(factor[:, None]).add_(value[:, None])


def adjust_hue(images: Tensor, delta: Tensor) -> Tensor:
    """Turn the hue (HSV) by `delta` (N,) turns."""
    red, green, blue = images.unbind(dim=1)
    value, spread = _value_and_spread(images)
    # In sixths of a turn; grey has none, and its spread of 0 hides what is computed for it.
    sixth = torch.where(
        red == value,
        green - blue,
        torch.where(
            green == value,
            (blue - red).add_(spread, alpha=2.0),
            (red - green).add_(spread, alpha=4.0),
        ),
    )
    sixth.div_(spread.clamp(min=_SMALLEST)).add_(6.0 * delta.view(-1, 1, 1))
    sixth.sub_((sixth / 6.0).floor_(), alpha=6.0)
    result = torch.empty_like(images)
    # How far a channel lies below the value, in spreads: none within a sixth of its own hue.
    below = result.unbind(dim=1)
    torch.sub(sixth, 3.0, out=below[0]).abs_().sub_(2.0)
    for channel, hue in ((1, 2.0), (2, 4.0)):
        torch.sub(sixth, hue, out=below[channel]).abs_().neg_().add_(1.0)
    return result.clamp_(-1, 0).mul_(spread[:, None]).add_(value[:, None])


def _value_and_spread(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the largest channel (N, H, W) and its distance to the smallest."""
    red, green, blue = images.unbind(dim=1)
    value = torch.maximum(torch.maximum(red, green), blue)
    return value, value - torch.minimum(torch.minimum(red, green), blue)
