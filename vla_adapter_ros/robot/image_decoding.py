# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""From image messages to (H, W, 3) uint8 RGB, with at most one copy.

This defines the meaning of pixels, in training and on the robot. An encoding that is not known
here is refused by name.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

import cv2
import numpy as np

from vla_adapter_ros.errors import DamagedImageError, ObservationError, readable
from vla_adapter_ros.robot.camera_spec import BYTES_PER_PIXEL, ENCODINGS, PLANAR_ENCODINGS

# Side of the largest image [px].
_MAX_SIDE = 16384
# Of a JPEG or PNG file, which may claim a size that no data in it bears out; 8K video has half.
_MAX_PIXELS = 1 << 26

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
    # ROS names the first row's first two pixels and the second row's; OpenCV the second row's
    # second and third.
    'bayer_rggb8': cv2.COLOR_BayerBG2RGB,
    'bayer_bggr8': cv2.COLOR_BayerRG2RGB,
    'bayer_gbrg8': cv2.COLOR_BayerGR2RGB,
    'bayer_grbg8': cv2.COLOR_BayerGB2RGB,
    'nv12': cv2.COLOR_YUV2RGB_NV12,
    'nv21': cv2.COLOR_YUV2RGB_NV21,
}
# Cameras (Logitech) leave a few bytes behind the last pixels of a segment. Damage in transit ends
# in a warning of hundreds, or of data that ends early.
_MOST_EXTRA_BYTES = 16
_EXTRA_BYTES = re.compile(r'Corrupt JPEG data: (\d+) extraneous bytes before marker 0xd[0-9]')
# 16UC1, rgb16, 32FC1, …; not h264.
_WIDE = re.compile(r'(?<!\d)(16|32|64)')
_PNG = b'\x89PNG\r\n\x1a\n'


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
        data: buffer of `step * height` bytes; of nv12 and nv21 half as many again.
        is_bigendian: irrelevant for 8-bit images.

    Raises:
        ObservationError: unknown or 16-bit encoding, zero size, or `step` or `data` that do not
            fit the size.
    """
    buffer = np.frombuffer(data, dtype=np.uint8)
    _check_layout(encoding, height, width, step, len(buffer))
    depth = BYTES_PER_PIXEL.get(encoding, 1)
    pixels = _as_pixels(buffer.reshape(-1, step), width, depth)
    conversion = _CONVERSIONS[encoding]
    if conversion is None:
        return np.ascontiguousarray(pixels)
    return cv2.cvtColor(pixels, conversion)


def _check_layout(encoding: str, height: int, width: int, step: int, length: int) -> None:
    if encoding not in _CONVERSIONS:
        raise ObservationError(f'image encoding {encoding!r}: {_refusal(encoding)}')
    planar = encoding in PLANAR_ENCODINGS
    depth = BYTES_PER_PIXEL.get(encoding, 1)
    if not (0 < height <= _MAX_SIDE and 0 < width <= _MAX_SIDE):
        raise ObservationError(f'image of {width}×{height} pixels: expected 1 to {_MAX_SIDE}')
    if (depth == 2 or planar) and width % 2:
        raise ObservationError(f'image {encoding} of width {width}: expected an even width')
    if planar and height % 2:
        raise ObservationError(f'image {encoding} of height {height}: expected an even height')
    if step < width * depth:
        raise ObservationError(
            f'image step {step}: expected at least {width * depth} '
            f'for {width} pixels of {encoding}'
        )
    size, formula = step * height, 'step × height'
    if planar:
        size, formula = size * 3 // 2, '1.5 × step × height'
    if length != size:
        raise DamagedImageError(f'image data of {length} bytes: expected {formula} = {size}')


def _as_pixels(rows: np.ndarray, width: int, depth: int) -> np.ndarray:
    """Return (H, step) bytes as (H, width, depth), without the padding and without a copy."""
    shape, strides = (len(rows), width, depth), (rows.strides[0], depth, 1)
    return np.lib.stride_tricks.as_strided(rows, shape, strides, writeable=False)


def _refusal(encoding: str) -> str:
    allowed = ', '.join(ENCODINGS)
    if _WIDE.search(encoding):
        return f'more than 8 bits per channel (depth?) is refused; expected one of {allowed}'
    if encoding == '8UC3':
        return 'it does not say whether red or blue comes first: publish rgb8 or bgr8'
    return f'expected one of {allowed}'


def decode_compressed(format_text: str, data: Any) -> np.ndarray:
    """Return the pixels of a compressed image message as (H, W, 3) uint8 RGB.

    Args:
        format_text: of sensor_msgs/CompressedImage; only `compressedDepth` matters: the file type
            is detected from its first bytes, because drivers fill the field differently.
        data: a JPEG or PNG file.

    Raises:
        ObservationError: not JPEG or PNG, damaged, too large, or more than 8 bits per channel.
    """
    if 'compressedDepth' in format_text:
        raise ObservationError(f'compressed image format {format_text!r}: depth is refused')
    content = bytes(memoryview(data)) if not isinstance(data, bytes) else data
    check_file_size(content)
    if content[:3] == b'\xff\xd8\xff':
        return _decode_jpeg(content)
    if content[:8] == _PNG:
        return _decode_png(content)
    raise ObservationError(
        f'compressed image of {len(content)} bytes, format {format_text!r}: expected JPEG or PNG'
    )


def check_file_size(content: bytes) -> None:
    """Refuse a JPEG or PNG file of too many pixels before memory is reserved for them.

    Raises:
        ObservationError: it has more than 64 million.
    """
    import simplejpeg

    height = width = 0
    if content[:8] == _PNG:
        width, height = (int.from_bytes(content[i : i + 4], 'big') for i in (16, 20))
    elif content[:2] == b'\xff\xd8':
        with suppress(ValueError):  # a damaged header, which the decoder refuses
            height, width = simplejpeg.decode_jpeg_header(content)[:2]
    if height * width > _MAX_PIXELS:
        raise ObservationError(
            f'compressed image of {width}×{height} pixels: expected at most {_MAX_PIXELS}'
        )


def is_grey_file(content: bytes) -> bool:
    """Return whether a JPEG or PNG file has no colour; False for a damaged one."""
    import simplejpeg

    if content[:8] == _PNG:
        return content[25:26] in (b'\x00', b'\x04')
    try:
        return simplejpeg.decode_jpeg_header(content)[2].upper() == 'GRAY'
    except ValueError:
        return False


def _decode_jpeg(content: bytes) -> np.ndarray:
    import simplejpeg

    try:
        return simplejpeg.decode_jpeg(content, colorspace='RGB')
    except ValueError as error:
        extra = _EXTRA_BYTES.search(str(error))
        if extra and _is_padding(content, int(extra[1])):
            with readable(f'JPEG of {len(content)} bytes', DamagedImageError):
                return simplejpeg.decode_jpeg(content, colorspace='RGB', strict=False)
        raise DamagedImageError(f'damaged JPEG of {len(content)} bytes: {error}') from error


def _is_padding(content: bytes, count: int) -> bool:
    """Return whether `count` bytes that the decoder did not use tell of no damage."""
    return count <= _MOST_EXTRA_BYTES or not any(content[-2 - count : -2])


def _decode_png(content: bytes) -> np.ndarray:
    with readable(f'PNG of {len(content)} bytes', DamagedImageError):
        pixels = cv2.imdecode(np.frombuffer(content, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise DamagedImageError(f'damaged PNG of {len(content)} bytes')
    if pixels.dtype != np.uint8:
        raise ObservationError(
            f'PNG of type {pixels.dtype}: more than 8 bits per channel is refused'
        )
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    return cv2.cvtColor(pixels, _FROM_PNG[channels])


_FROM_PNG = {1: cv2.COLOR_GRAY2RGB, 3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGB}
