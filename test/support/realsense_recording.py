# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Record what a D405 would give with the SDK's software device, to be played by its pipeline."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from vla_adapter_ros.cameras.realsense import load_sdk
from vla_adapter_ros.errors import CameraError

try:
    load_sdk()
    _missing = ''
except CameraError as error:
    _missing = str(error)

needs_sdk = pytest.mark.skipif(bool(_missing), reason=_missing)

SERIAL = '012345678901'
FOCAL = 430.0
DISTORTION = (-0.05, 0.06, 0.001, -0.0005, -0.02)
# The camera's clock at the first frame [s].
CAMERA_START = 1000.0
# A frame may be late by so much in a good recording [s].
_STEADY = 0.08


def red_of(number: int) -> int:
    """The red value of a frame, which identifies it."""
    return number % 200 + 20


def raw_depth_of(number: int) -> int:
    """The raw depth of a frame [0.1 mm]."""
    return 2500 + 10 * number


def record(
    path: Path, frames: int = 40, size=(640, 480), fps: int = 30, gap_at: int = -1,
    gap: float = 0.0, name: str = 'Intel RealSense D405', depth: bool = True,
) -> None:
    """Write a recording; frame `gap_at` comes `gap` seconds late.

    The SDK notes when it was given each frame: a recording in which the machine stood still has
    gaps of its own, and is made again.
    """
    for _ in range(20):
        if _record(path, frames, size, fps, gap_at, gap, name, depth) < _STEADY:
            return
        path.unlink()
    raise AssertionError('the machine stood still during each of 20 recordings')


def _record(path, frames, size, fps, gap_at, gap, name, depth) -> float:
    """Write a recording; return by how much a frame was late at most [s]."""
    rs = load_sdk()
    device = rs.software_device()
    device.register_info(rs.camera_info.name, name)
    device.register_info(rs.camera_info.serial_number, SERIAL)
    sensor = device.add_sensor('Stereo Module')
    streams = [(rs.stream.color, rs.format.rgb8, 3)]
    if depth:
        streams.append((rs.stream.depth, rs.format.z16, 2))
    profiles = [
        (sensor.add_video_stream(_stream(rs, kind, uid, form, pixel_bytes, size, fps)),
         pixel_bytes)
        for uid, (kind, form, pixel_bytes) in enumerate(streams)
    ]
    sensor.add_read_only_option(rs.option.depth_units, 0.0001)
    device.create_matcher(rs.matchers.default)
    recorder = rs.recorder(str(path), device)
    recording_sensor = recorder.query_sensors()[0]
    recording_sensor.open(list(recording_sensor.get_stream_profiles()))
    recording_sensor.start(rs.syncer())
    late = 0.0
    for number in range(frames):
        began = time.monotonic()
        pause = 1.0 / fps + (gap if number == gap_at else 0.0)
        if number == gap_at:
            time.sleep(gap)
        for profile, pixel_bytes in profiles:
            sensor.on_video_frame(_frame(rs, profile, pixel_bytes, number, size, fps))
        time.sleep(1.0 / fps)
        late = max(late, time.monotonic() - began - pause)
    recording_sensor.stop()
    recording_sensor.close()
    return late


def _stream(rs, kind, uid, form, pixel_bytes, size, fps):
    intrinsics = rs.intrinsics()
    intrinsics.width, intrinsics.height = size
    intrinsics.fx = intrinsics.fy = FOCAL
    intrinsics.ppx, intrinsics.ppy = size[0] / 2, size[1] / 2
    intrinsics.model = rs.distortion.inverse_brown_conrady
    intrinsics.coeffs = list(DISTORTION)
    stream = rs.video_stream()
    stream.type, stream.uid, stream.fmt, stream.bpp = kind, uid, form, pixel_bytes
    stream.width, stream.height = size
    stream.fps, stream.intrinsics = fps, intrinsics
    return stream


def _frame(rs, profile, pixel_bytes, number, size, fps):
    width, height = size
    if pixel_bytes == 3:
        pixels = np.zeros((height, width, 3), np.uint8)
        pixels[..., 0] = red_of(number)
    else:
        pixels = np.full((height, width), raw_depth_of(number), np.uint16)
    frame = rs.software_video_frame()
    frame.pixels, frame.stride, frame.bpp = pixels, width * pixel_bytes, pixel_bytes
    frame.timestamp = CAMERA_START * 1e3 + number * 1e3 / fps
    frame.domain = rs.timestamp_domain.hardware_clock
    frame.frame_number, frame.profile = number, profile.as_video_stream_profile()
    if pixel_bytes == 2:
        frame.depth_units = 0.0001
    return frame
