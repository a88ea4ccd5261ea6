# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""From a camera's message to the image that the policy sees.

The one place where the contract's encoding, size and crop are applied: the node, preflight, the
conversion of recordings and the simulations all get their images here. The next stages (rotation,
resizing, normalisation) are in processing/images.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from vla_adapter_ros.errors import ObservationError
from vla_adapter_ros.robot.camera_spec import ANY_ENCODING, CameraSpec
from vla_adapter_ros.robot.image_decoding import decode_compressed, decode_image

Decoder = Callable[[Any], np.ndarray]


def decode_message(message: Any) -> np.ndarray:
    """Return (H, W, 3) uint8 RGB of a raw or compressed image message (by its fields)."""
    if hasattr(message, 'encoding'):
        return decode_image(
            message.encoding,
            message.height,
            message.width,
            message.step,
            message.data,
            bool(message.is_bigendian),
        )
    return decode_compressed(message.format, message.data)


def policy_image(
    message: Any, camera: CameraSpec, decode: Decoder = decode_message
) -> np.ndarray:
    """Return the image that the policy sees: (H, W, 3) uint8 RGB, cropped, not yet rotated.

    Raises:
        ObservationError: it cannot be decoded, or its encoding or size differ from the contract.
    """
    _check_encoding(message, camera)
    return crop_to_view(decode(message), camera)


def crop_to_view(image: np.ndarray, camera: CameraSpec) -> np.ndarray:
    """Return the part of a camera's (H, W, 3) image that the policy sees.

    Raises:
        ObservationError: another size. Scaling it silently would show the policy the world in
            other proportions than in training.
    """
    height, width = image.shape[:2]
    if (height, width) != (camera.height, camera.width):
        raise ObservationError(
            f'image is {width}×{height} pixels, the contract says {camera.width}×{camera.height}'
        )
    if camera.crop is None:
        return image
    x, y, width, height = camera.crop
    return np.ascontiguousarray(image[y : y + height, x : x + width])


def message_encoding(message: Any) -> str:
    """Return a message's encoding; of a compressed one that in its format field, or ''.

    image_transport writes the camera's encoding first: `bgr8; jpeg compressed bgr8`.
    """
    if hasattr(message, 'encoding'):
        return message.encoding
    before, separator, _ = message.format.partition(';')
    return before.strip() if separator else ''


def _check_encoding(message: Any, camera: CameraSpec) -> None:
    encoding = message_encoding(message)
    if camera.encoding != ANY_ENCODING and encoding and encoding != camera.encoding:
        raise ObservationError(
            f'image encoding is {encoding!r}, the contract says {camera.encoding!r}'
        )
