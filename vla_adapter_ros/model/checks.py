# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Shapes that a network takes."""

from __future__ import annotations

from torch import Tensor

from vla_adapter_ros.architecture.config import VLAAdapterConfig
from vla_adapter_ros.errors import ObservationError


def check_pixels(config: VLAAdapterConfig, pixel_values: Tensor) -> None:
    """Refuse pixels of a shape the network cannot take."""
    expected = (
        config.channels_per_image * config.num_images,
        config.image_size,
        config.image_size,
    )
    if pixel_values.ndim != 4 or tuple(pixel_values.shape[1:]) != expected:
        raise ObservationError(
            f'pixel_values: got shape {tuple(pixel_values.shape)}, '
            f'the network expects (batch, {", ".join(map(str, expected))})'
        )


def check_inputs(
    config: VLAAdapterConfig,
    pixel_values: Tensor | None,
    input_ids: Tensor,
    visual: Tensor | None,
) -> None:
    """Refuse inputs of `VLAAdapter.features` that are missing or of a shape it cannot take."""
    expected = (config.visual_tokens, config.language.hidden)
    if visual is not None and tuple(visual.shape[1:]) != expected:
        raise ObservationError(
            f'visual_tokens: got shape {tuple(visual.shape)}, expected (batch, '
            f'{expected[0]}, {expected[1]})'
        )
    if visual is None and pixel_values is None:
        raise ObservationError('pixel_values: missing, and there are no visual_tokens either')
    if visual is None:
        check_pixels(config, pixel_values)
    batch = (pixel_values if visual is None else visual).shape[0]
    if input_ids.ndim != 2 or input_ids.shape[0] != batch:
        raise ObservationError(
            f'input_ids: got shape {tuple(input_ids.shape)}, expected ({batch}, length)'
        )
    if input_ids.shape[1] == 0:
        raise ObservationError('input_ids: the prompt is empty, at least one token is needed')
