# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""From a camera's message to the image that the policy sees.

The one place where the contract's encoding, size and crop are applied: the node, preflight, the
conversion of recordings and the simulations all get their images here. The next stages (rotation,
resizing, normalisation) are in processing/images.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vla_adapter_ros.errors import ObservationError
from vla_adapter_ros.robot.camera_spec import ANY_ENCODING, GREY_ENCODINGS, CameraSpec
from vla_adapter_ros.robot.image_decoding import (
    decode_compressed,
    decode_image,
    is_grey_file,
)


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


def policy_image(message: Any, camera: CameraSpec) -> np.ndarray:
    """Return the image that the policy sees: (H, W, 3) uint8 RGB, cropped, not yet rotated.

    Raises:
        ObservationError: it cannot be decoded, its encoding or size differ from the contract, or
            a colour camera's compressed image is grey.
    """
    _check_encoding(message, camera)
    _check_colour(message, camera)
    return crop_to_view(decode_message(message), camera)


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


def _check_colour(message: Any, camera: CameraSpec) -> None:
    """Refuse grey files of colour cameras.

    image_transport compresses encodings that it does not count as colour (YUYV, Bayer) to grey:
    a policy trained on the raw images would see other ones.
    """
    if hasattr(message, 'encoding') or camera.encoding in GREY_ENCODINGS:
        return
    encoding = message_encoding(message)
    if encoding in GREY_ENCODINGS or not is_grey_file(bytes(message.data)):
        return
    source = f'of a camera that publishes {encoding}' if encoding else 'of a colour camera'
    raise ObservationError(
        f'compressed image {source} is grey (format {message.format!r}): use its raw images '
        '(image_transport: raw), let it publish rgb8 or bgr8, or, if the camera is grey, state '
        'encoding: mono8 in the contract'
    )
