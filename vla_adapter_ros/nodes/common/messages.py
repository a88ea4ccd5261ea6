# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Between ROS messages and plain data: stamps, images, joint states, trajectories, chunks."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence

import numpy as np
from builtin_interfaces.msg import Duration, Time
from diagnostic_msgs.msg import KeyValue
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image, JointState
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from vla_adapter_ros.inference.chunk import ActionChunk
from vla_adapter_ros.msg import ActionChunk as ActionChunkMsg

_NANOSECONDS = 1_000_000_000

# Newest value only, from any publisher: a best-effort subscriber matches reliable ones too.
LATEST = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=1, reliability=ReliabilityPolicy.BEST_EFFORT
)
COMMAND = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=1, reliability=ReliabilityPolicy.RELIABLE
)
EVERY = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=10, reliability=ReliabilityPolicy.RELIABLE
)
# The last value is sent to those who subscribe later.
LATCHED = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)


def image_input(camera: str, transport: str) -> tuple[type, str]:
    """Return message type and topic of a camera's images by one of IMAGE_TRANSPORTS."""
    if transport == 'compressed':
        return CompressedImage, f'{camera}/image/compressed'
    return Image, f'{camera}/image'


def to_seconds(stamp: Time) -> float:
    """Return a stamp in seconds."""
    return stamp.sec + stamp.nanosec * 1e-9


def to_time(seconds: float) -> Time:
    """Return seconds as a stamp."""
    total = max(0, round(seconds * _NANOSECONDS))
    return Time(sec=total // _NANOSECONDS, nanosec=total % _NANOSECONDS)


def to_duration(seconds: float) -> Duration:
    """Return seconds as a duration."""
    total = max(0, round(seconds * _NANOSECONDS))
    return Duration(sec=total // _NANOSECONDS, nanosec=total % _NANOSECONDS)


def image_message(pixels: np.ndarray, stamp: Time, frame_id: str) -> Image:
    """Return an rgb8 image message from (H, W, 3) uint8 RGB."""
    height, width, channels = pixels.shape
    message = Image(height=height, width=width, encoding='rgb8', step=width * channels)
    message.header.stamp = stamp
    message.header.frame_id = frame_id
    # An array is taken as it is; bytes or lists are checked value by value (a second an image).
    message.data = array('B', np.ascontiguousarray(pixels).tobytes())
    return message


def joint_state_message(
    names: Sequence[str], positions: np.ndarray, velocities: np.ndarray, stamp: Time
) -> JointState:
    """Return a joint state with positions and velocities in the driver's units."""
    message = JointState(name=list(names))
    message.header.stamp = stamp
    message.position = array('d', positions)
    message.velocity = array('d', velocities)
    return message


def trajectory_message(
    names: Sequence[str],
    times: Iterable[float],
    positions: np.ndarray,
    velocities: np.ndarray,
) -> JointTrajectory:
    """Return a trajectory that starts on arrival.

    The header stamp stays zero: controllers before 2026 stop the running trajectory immediately
    when a stamped one arrives, and the first point carries the timing anyway.

    Args:
        names: joint names, length J.
        times: time from start of each point [s], increasing, all > 0.
        positions: (N, J) in the driver's units.
        velocities: (N, J) in the driver's units per second.
    """
    message = JointTrajectory(joint_names=list(names))
    message.points = [
        JointTrajectoryPoint(
            positions=array('d', position),
            velocities=array('d', velocity),
            time_from_start=to_duration(time),
        )
        for time, position, velocity in zip(times, positions, velocities, strict=True)
    ]
    return message


def chunk_message(
    chunk: ActionChunk, sequence: int, action_space: str, names: Sequence[str], stamp: Time
) -> ActionChunkMsg:
    """Return the raw chunk as published on `~/action_chunk`.

    A policy of somebody's own may have other kinds of numbers, and provenance that is no text.
    """
    rows, columns = chunk.actions.shape
    message = ActionChunkMsg(
        sequence=sequence,
        observation_stamp=to_time(chunk.observation_stamp),
        instruction=chunk.instruction,
        step_period=float(chunk.step_period),
        chunk_size=rows,
        action_dim=columns,
        action_space=action_space,
        names=list(names),
        actions=array('d', chunk.actions.ravel()),
        latency_names=[str(name) for name in chunk.latencies],
        latencies=array('d', chunk.latencies.values()),
        provenance=[KeyValue(key=str(k), value=str(v)) for k, v in chunk.provenance.items()],
    )
    message.header.stamp = stamp
    return message
