# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Facts about the Alicia-D and its vendor's drivers that a contract does not hold.

Names, limits, topics and units are contract data (config/robots/alicia_d*.yaml); checks, launch
and the streamed front end need these facts beside them. The vendor ships two drivers: A on
ros2_control, and B, a standalone node.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class VendorDriver:
    """One of the vendor's drivers.

    Attributes:
        name: value of the launch argument `driver`.
        title: for messages to the user.
        front_end: kind of front end in a contract.
        robot: shipped contract for it.
        arm_topic: topic on which it listens.
    """

    name: str
    title: str
    front_end: str
    robot: str
    arm_topic: str


DRIVERS = (
    VendorDriver(
        'ros2_control', 'the ros2_control driver', 'joint_trajectory', 'alicia_d',
        'Alicia_controller/joint_trajectory',
    ),
    VendorDriver(
        'standalone', 'the standalone driver', 'joint_commands', 'alicia_d_standalone',
        'joint_commands',
    ),
)  # fmt: skip
# The standalone driver's node, and its topic that takes the torque off (std_msgs/Bool); both in
# the namespace of the arm.
STANDALONE_NODE = 'alicia_d_driver_node'
DEMONSTRATION_TOPIC = 'demonstration'
# Parameter of that node, of A's hardware description, and default of both [deg/s].
SPEED_PARAMETER = 'default_speed_deg_s'
DEFAULT_SPEED_DEG_S = 20.0
# Finger travel by gripper type [m].
GRIPPER_TRAVEL_M = {'50mm': 0.025, '100mm': 0.05}

# The standalone driver takes the largest |velocity| of a message as the speed of all joints. The
# arm must be able to catch up, and cannot go slower than 4.39 deg/s anyway.
_STREAM_SPEED_MARGIN = 1.5
_MIN_STREAM_SPEED = 0.2  # rad/s
# One count of the servos [rad] is 2π / 4096; a raw 0 reads as −π.
_RAW_ZERO_TOLERANCE = 2.0e-3


def driver_named(name: str) -> VendorDriver:
    """Return a driver by the value of the launch argument `driver`."""
    return next(driver for driver in DRIVERS if driver.name == name)


def other_driver(front_end: str) -> VendorDriver:
    """Return the driver that a contract with this kind of front end does not use."""
    return next(driver for driver in DRIVERS if driver.front_end != front_end)


def stream_speeds(velocity: np.ndarray, max_velocity: np.ndarray) -> np.ndarray:
    """Return the joint speeds (J,) [rad/s] to allow the standalone driver for a velocity (J,)."""
    speeds = np.maximum(_STREAM_SPEED_MARGIN * np.abs(velocity), _MIN_STREAM_SPEED)
    return np.minimum(speeds, _STREAM_SPEED_MARGIN * max_velocity)


def servos_answer_raw_zero(arm: np.ndarray) -> bool:
    """Return whether all arm joints (J,) [rad] read as the −π of servos that answer raw zero."""
    return bool(np.all(np.abs(arm + np.pi) < _RAW_ZERO_TOLERANCE))


def joint_state_remedy(fault: str) -> str:
    """Return what to do about an implausible joint state (control/plausibility.py)."""
    if 'exactly zero' in fault:
        return "check the arm's power and cable; its firmware must fit the driver (6.1)"
    if 'raw zero' in fault:
        return 'restart the driver and power-cycle the arm'
    return 'check the arm before anything moves'


def read_description(text: str) -> tuple[float | None, float | None]:
    """Return speed [deg/s] and gripper travel [m] from a robot description's ros2_control tag."""

    def value(name: str) -> str:
        found = re.search(rf'<param\s+name="{name}"\s*>\s*([^<\s]+)\s*</param>', text)
        return found.group(1) if found else ''

    travel = GRIPPER_TRAVEL_M.get(value('gripper_type'))
    try:
        return float(value(SPEED_PARAMETER)), travel
    except ValueError:
        return None, travel
