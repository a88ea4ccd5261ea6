# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Messages that only cameras send: depth images and camera_info."""

from __future__ import annotations

from array import array

import numpy as np
from builtin_interfaces.msg import Time
from sensor_msgs.msg import CameraInfo, Image

from vla_adapter_ros.cameras.calibration import Intrinsics


def depth_message(depth: np.ndarray, stamp: Time, frame_id: str) -> Image:
    """Return a 16UC1 image message from (H, W) uint16 millimetres (REP 118)."""
    height, width = depth.shape
    message = Image(height=height, width=width, encoding='16UC1', step=width * 2)
    message.header.stamp = stamp
    message.header.frame_id = frame_id
    message.is_bigendian = 0
    message.data = array('B', np.ascontiguousarray(depth, dtype='<u2').tobytes())
    return message


def camera_info_message(intrinsics: Intrinsics, stamp: Time, frame_id: str) -> CameraInfo:
    """Return the pinhole model of a stream as a message."""
    message = CameraInfo(
        width=intrinsics.width,
        height=intrinsics.height,
        distortion_model=intrinsics.model,
        d=array('d', intrinsics.distortion),
        k=intrinsics.camera_matrix,
        r=list(intrinsics.rectification),
        p=intrinsics.projection_matrix,
    )
    message.header.stamp = stamp
    message.header.frame_id = frame_id
    return message
