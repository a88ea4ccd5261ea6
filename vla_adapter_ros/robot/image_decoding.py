# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""From image messages to (H, W, 3) uint8 RGB, with at most one copy.

This defines the meaning of pixels, in training and on the robot. The policy node hands
other encodings to cv_bridge, where that is installed (nodes/policy/cv_bridge_decoder.py).
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from vla_adapter_ros.errors import ObservationError
from vla_adapter_ros.robot.camera_spec import BYTES_PER_PIXEL, ENCODINGS

# Side of the largest image [px].
_MAX_SIDE = 16384

# Encoding → OpenCV's conversion to RGB; None: it is RGB already.
_CONVERSIONS: dict[str, int | None] = {
    'rgb8': None,
    'bgr8': cv2.COLOR_BGR2RGB,
    'rgba8': cv2.COLOR_RGBA2RGB,
    'bgra8': cv2.COLOR_BGRA2RGB,
    'mono8': cv2.COLOR_GRAY2RGB,
    '8UC1': cv2.COLOR_GRAY2RGB,
    'yuv422_yuy2': cv2.COLOR_YUV2RGB_YUY2,
    'yuyv': cv2.COLOR_YUV2RGB_YUY2,
    'yuv422': cv2.COLOR_YUV2RGB_UYVY,
    'uyvy': cv2.COLOR_YUV2RGB_UYVY,
}


def decode_image(
    encoding: str, height: int, width: int, step: int, data: Any, is_bigendian: bool = False
) -> np.ndarray:
    """Return the pixels of a raw image message as (H, W, 3) uint8 RGB, C-contiguous.

    A tightly packed rgb8 image is not copied: the result is a view of `data` and must not be
    written to; everything else is copied once.

    Args:
        encoding: as in sensor_msgs/Image.
        height: rows [px].
        width: columns [px].
        step: bytes from one row to the next.
        data: buffer of `step * height` bytes.
        is_bigendian: irrelevant for 8-bit images.

    Raises:
        ObservationError: unknown or 16-bit encoding, zero size, or `step` or `data` that do not
            fit the size.
    """
    buffer = np.frombuffer(data, dtype=np.uint8)
    check_layout(encoding, height, width, step, len(buffer))
    pixels = _as_pixels(buffer.reshape(height, step), width, BYTES_PER_PIXEL[encoding])
    conversion = _CONVERSIONS[encoding]
    if conversion is None:
        return np.ascontiguousarray(pixels)
    return cv2.cvtColor(pixels, conversion)


def check_layout(encoding: str, height: int, width: int, step: int, length: int) -> None:
    """Reject an image message whose fields are inconsistent, or that cannot be decoded.

    Args:
        encoding: as in sensor_msgs/Image.
        height: rows [px].
        width: columns [px].
        step: bytes from one row to the next.
        length: bytes of data.

    Raises:
        ObservationError: as `decode_image`.
    """
    if encoding not in _CONVERSIONS:
        raise ObservationError(f'image encoding {encoding!r}: {_refusal(encoding)}')
    depth = BYTES_PER_PIXEL[encoding]
    if not (0 < height <= _MAX_SIDE and 0 < width <= _MAX_SIDE):
        raise ObservationError(f'image of {width}×{height} pixels: expected 1 to {_MAX_SIDE}')
    if depth == 2 and width % 2:
        raise ObservationError(f'image {encoding} of width {width}: expected an even width')
    if step < width * depth:
        raise ObservationError(
            f'image step {step}: expected at least {width * depth} '
            f'for {width} pixels of {encoding}'
        )
    if length != step * height:
        raise ObservationError(
            f'image data of {length} bytes: expected step × height = {step * height}'
        )


def _as_pixels(rows: np.ndarray, width: int, depth: int) -> np.ndarray:
    """Return (H, step) bytes as (H, width, depth), without the padding and without a copy."""
    shape, strides = (len(rows), width, depth), (rows.strides[0], depth, 1)
    return np.lib.stride_tricks.as_strided(rows, shape, strides, writeable=False)


def _refusal(encoding: str) -> str:
    allowed = ', '.join(ENCODINGS)
    if '16' in encoding or '32' in encoding or '64' in encoding:
        return f'more than 8 bits per channel (depth?) is refused; expected one of {allowed}'
    return f'expected one of {allowed}'


def decode_compressed(format_text: str, data: Any) -> np.ndarray:
    """Return the pixels of a compressed image message as (H, W, 3) uint8 RGB.

    Args:
        format_text: of sensor_msgs/CompressedImage; only `compressedDepth` matters: the file type
            is detected from its first bytes, because drivers fill the field differently.
        data: a JPEG or PNG file.

    Raises:
        ObservationError: not JPEG or PNG, damaged, or more than 8 bits per channel.
    """
    if 'compressedDepth' in format_text:
        raise ObservationError(f'compressed image format {format_text!r}: depth is refused')
    content = bytes(memoryview(data)) if not isinstance(data, bytes) else data
    if content[:3] == b'\xff\xd8\xff':
        return _decode_jpeg(content)
    if content[:8] == b'\x89PNG\r\n\x1a\n':
        return _decode_png(content)
    raise ObservationError(
        f'compressed image of {len(content)} bytes, format {format_text!r}: expected JPEG or PNG'
    )


def _decode_jpeg(content: bytes) -> np.ndarray:
    import simplejpeg

    try:
        return simplejpeg.decode_jpeg(content, colorspace='RGB')
    except ValueError as error:
        raise ObservationError(f'damaged JPEG of {len(content)} bytes: {error}') from error


def _decode_png(content: bytes) -> np.ndarray:
    pixels = cv2.imdecode(np.frombuffer(content, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise ObservationError(f'damaged PNG of {len(content)} bytes')
    if pixels.dtype != np.uint8:
        raise ObservationError(
            f'PNG of type {pixels.dtype}: more than 8 bits per channel is refused'
        )
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    return cv2.cvtColor(pixels, _FROM_PNG[channels])


_FROM_PNG = {1: cv2.COLOR_GRAY2RGB, 3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGB}
