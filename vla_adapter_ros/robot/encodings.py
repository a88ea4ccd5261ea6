# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Names of the image encodings that can be decoded, as in sensor_msgs/Image."""

from __future__ import annotations

# In a contract: whatever can be decoded.
ANY_ENCODING = 'any'
GREY_ENCODINGS = ('mono8', '8UC1')
# Encoding → bytes per pixel; robot/image_decoding.py has the conversions.
BYTES_PER_PIXEL = {
    'rgb8': 3,
    'bgr8': 3,
    'rgba8': 4,
    'bgra8': 4,
    'mono8': 1,
    '8UC1': 1,
    'yuv422_yuy2': 2,
    'yuyv': 2,
    'yuv422': 2,
    'uyvy': 2,
}
ENCODINGS = tuple(BYTES_PER_PIXEL)
