# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""From image messages to (H, W, 3) uint8 RGB, at most one copy.

cv_bridge is not used: its binary wheels break with numpy 2 on two distributions, and what a
policy needs of it is little. Where it can be imported, the tests compare with it. YUV follows
OpenCV's fixed-point BT.601 bit by bit, so that recordings decode alike on every machine.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from vla_adapter_ros.errors import ObservationError

_MAX_SIDE = 16384


def _rgb(rows: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(rows)


def _reversed(rows: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(rows[..., 2::-1])


def _without_alpha(rows: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(rows[..., :3])


def _grey(rows: np.ndarray) -> np.ndarray:
    return np.repeat(rows, 3, axis=2)


def _yuyv(rows: np.ndarray) -> np.ndarray:
    return _yuv422(rows, luma=0)


def _uyvy(rows: np.ndarray) -> np.ndarray:
    return _yuv422(rows, luma=1)


# Encoding → (bytes per pixel, conversion of (H, W, bytes) to RGB).
_DECODERS: dict[str, tuple[int, Callable[[np.ndarray], np.ndarray]]] = {
    'rgb8': (3, _rgb),
    'bgr8': (3, _reversed),
    'rgba8': (4, _without_alpha),
    'bgra8': (4, _reversed),
    'mono8': (1, _grey),
    '8UC1': (1, _grey),
    'yuv422_yuy2': (2, _yuyv),
    'yuyv': (2, _yuyv),
    'yuv422': (2, _uyvy),
    'uyvy': (2, _uyvy),
}
ENCODINGS = tuple(_DECODERS)


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
        is_bigendian: without meaning for 8-bit images.

    Raises:
        ObservationError: unknown or 16-bit encoding, zero size, or `step` or `data` that do not
            fit the size.
    """
    if encoding not in _DECODERS:
        raise ObservationError(f'image encoding {encoding!r}: {_refusal(encoding)}')
    depth, convert = _DECODERS[encoding]
    if not (0 < height <= _MAX_SIDE and 0 < width <= _MAX_SIDE):
        raise ObservationError(f'image of {width}×{height} pixels: expected 1 to {_MAX_SIDE}')
    if depth == 2 and width % 2:
        raise ObservationError(f'image {encoding} of width {width}: expected an even width')
    if step < width * depth:
        raise ObservationError(
            f'image step {step}: expected at least {width * depth} '
            f'for {width} pixels of {encoding}'
        )
    buffer = np.frombuffer(data, dtype=np.uint8)
    if len(buffer) != step * height:
        raise ObservationError(
            f'image data of {len(buffer)} bytes: expected step × height = {step * height}'
        )
    rows = buffer.reshape(height, step)[:, : width * depth]
    return convert(
        rows.reshape(height, width, depth) if step == width * depth else _cut(rows, depth)
    )


def _cut(rows: np.ndarray, depth: int) -> np.ndarray:
    """Return padded rows as (H, W, depth) without a copy."""
    height, used = rows.shape
    shape = (height, used // depth, depth)
    strides = (rows.strides[0], depth, 1)
    return np.lib.stride_tricks.as_strided(rows, shape, strides, writeable=False)


def _refusal(encoding: str) -> str:
    allowed = ', '.join(ENCODINGS)
    if '16' in encoding or '32' in encoding or '64' in encoding:
        return f'more than 8 bits a channel (depth?) is refused; expected one of {allowed}'
    return f'expected one of {allowed}'


def decode_compressed(format_text: str, data: Any) -> np.ndarray:
    """Return the pixels of a compressed image message as (H, W, 3) uint8 RGB.

    Args:
        format_text: of sensor_msgs/CompressedImage; only `compressedDepth` matters, the kind of
            file is told by its first bytes (drivers write the field in many ways).
        data: a JPEG or PNG file.

    Raises:
        ObservationError: not JPEG or PNG, damaged, or more than 8 bits a channel.
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
    import cv2

    pixels = cv2.imdecode(np.frombuffer(content, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise ObservationError(f'damaged PNG of {len(content)} bytes')
    if pixels.dtype != np.uint8:
        raise ObservationError(
            f'PNG of type {pixels.dtype}: more than 8 bits a channel is refused'
        )
    if pixels.ndim == 2:
        return _grey(pixels[..., None])
    return _reversed(pixels)


# BT.601 limited range in 20-bit fixed point, the constants of OpenCV.
_SHIFT = 20
_CY, _CUB, _CUG, _CVG, _CVR = 1220542, 2116026, -409993, -852492, 1673527


def _yuv422(rows: np.ndarray, luma: int) -> np.ndarray:
    """Convert (H, W, 2) of packed 4:2:2; `luma` is the place of Y in each pair of bytes."""
    try:
        import cv2
    except ImportError:
        return yuv422_to_rgb(rows, luma)
    code = cv2.COLOR_YUV2RGB_YUY2 if luma == 0 else cv2.COLOR_YUV2RGB_UYVY
    return cv2.cvtColor(np.ascontiguousarray(rows), code)


def yuv422_to_rgb(rows: np.ndarray, luma: int) -> np.ndarray:
    """Do the same without OpenCV; equal bit by bit, some ten times slower."""
    height, width, _ = rows.shape
    y = np.maximum(rows[..., luma].astype(np.int32) - 16, 0) * _CY
    chroma = rows[..., 1 - luma].reshape(height, width // 2, 2).astype(np.int32) - 128
    u, v = chroma[..., 0], chroma[..., 1]
    half = 1 << (_SHIFT - 1)
    parts = (half + _CVR * v, half + _CVG * v + _CUG * u, half + _CUB * u)
    out = np.empty((height, width, 3), dtype=np.uint8)
    for channel, part in enumerate(parts):
        value = (y + np.repeat(part, 2, axis=1)) >> _SHIFT
        out[..., channel] = np.clip(value, 0, 255)
    return out
