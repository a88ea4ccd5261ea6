# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The Alicia-D below its ROS driver: serial servos that go to one target at one speed.

Kinematic only. Resolution, speed steps and clamps are those of the protocol of firmware 6.1: 4096
counts a turn, speeds in steps of 50 counts/s, a gripper from 0 (closed) to 1000 (open). The
emulated drivers add what each front end makes of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

JOINTS = 6
GRIPPER_OPEN = 1000.0
STROKE = 0.025  # finger travel of the 50 mm gripper [m]

_COUNTS = 4096
COUNT = 2.0 * math.pi / _COUNTS  # [rad]
# A servo rests where friction and weight let it, a count beside its target: an arm in its zero
# pose does not read as exactly zero.
_REST_ERROR = np.array([1.2, -0.8, 1.2, 0.0, -0.8, 1.2]) * COUNT
_SPEED_STEP = 50  # counts/s
_MIN_SPEED, _MAX_SPEED = 50, 5000
# The driver sends the gripper at 5500 counts/s: the full stroke takes about 0.4 s.
_GRIPPER_SPEED = 2500.0
# Without torque the arm falls; a hand that moved it less than this ago is holding it [s].
_HAND_HOLDS = 0.3
_SAG = np.array([0.0, 0.5, -0.5, 0.0, 0.3, 0.0])  # rad/s
_SAG_LIMITS = (
    np.array([-2.7, -1.5, -0.5, -2.7, -1.5, -3.1]),
    np.array([2.7, 1.5, 3.1, 2.7, 1.5, 3.1]),
)


class ServoArm:
    """Six joint servos and the gripper's.

    Args:
        joints: (6,) where the arm stands when it is switched on [rad].
        gripper: 0 (closed) … 1000 (open).
    """

    def __init__(self, joints: Sequence[float], gripper: float = GRIPPER_OPEN) -> None:
        self._joints = np.array(joints, float)
        self._gripper = float(gripper)
        self._target = self._joints.copy()
        self._gripper_target = self._gripper
        self._speed = 0.0
        self._since_hand = math.inf
        self.torque = True

    @property
    def joints(self) -> np.ndarray:
        """(6,) measured positions [rad], in integer counts, as the servos report them."""
        return in_counts(self._joints)

    @property
    def gripper(self) -> float:
        """Measured opening, 0 (closed) … 1000 (open), an integer."""
        return float(round(self._gripper))

    def command(self, joints: np.ndarray, gripper: float | None, speed: float) -> None:
        """Go to (6,) joint positions [rad] at one speed [rad/s]; None keeps the gripper.

        As in the protocol: positions are truncated to integer counts within ±π, the speed is
        rounded to its steps. There is no other limit.
        """
        counts = np.clip(np.trunc((joints + math.pi) / COUNT), 0, _COUNTS - 1)
        rest = counts * COUNT - math.pi + _REST_ERROR
        self._target = np.clip(rest, -math.pi, (_COUNTS - 1) * COUNT - math.pi)
        self._speed = actual_speed(speed)
        if gripper is not None:
            self._gripper_target = min(max(gripper, 0.0), GRIPPER_OPEN)

    def move_by_hand(self, joints: np.ndarray, gripper: float | None = None) -> None:
        """Put a torque-free arm to (6,) joint positions [rad]; an arm with torque resists."""
        if self.torque:
            return
        self._joints = joints.astype(float)
        self._since_hand = 0.0
        if gripper is not None:
            self._gripper = min(max(gripper, 0.0), GRIPPER_OPEN)

    def set_torque(self, on: bool) -> None:
        """Switch torque; switched on, the arm stays where it is."""
        if on and not self.torque:
            self._target, self._gripper_target = self._joints.copy(), self._gripper
        self.torque, self._since_hand = on, math.inf

    def set_zero(self) -> None:
        """Make the present pose the zero of all joints, for good."""
        self._joints = np.zeros(JOINTS)
        self._target = np.zeros(JOINTS)

    def step(self, duration: float) -> None:
        """Advance by `duration` [s]."""
        if not self.torque:
            self._fall(duration)
            return
        reach = self._speed * duration
        self._joints += np.clip(self._target - self._joints, -reach, reach)
        reach = _GRIPPER_SPEED * duration
        self._gripper += min(max(self._gripper_target - self._gripper, -reach), reach)

    def _fall(self, duration: float) -> None:
        self._since_hand += duration
        if self._since_hand > _HAND_HOLDS:
            self._joints = np.clip(self._joints + _SAG * duration, *_SAG_LIMITS)


def in_counts(joints: np.ndarray) -> np.ndarray:
    """Return joint positions [rad] as the servos report them: truncated to whole counts."""
    return np.trunc((joints + math.pi) / COUNT) * COUNT - math.pi


def actual_speed(speed: float) -> float:
    """Return the speed [rad/s] that the servos make of a wanted one: steps of 4.39 deg/s."""
    counts = round(speed / COUNT / _SPEED_STEP) * _SPEED_STEP
    return min(max(counts, _MIN_SPEED), _MAX_SPEED) * COUNT


def opening_to_metres(opening: float) -> float:
    """Return the driver's state of the gripper joint [m of finger travel], 0 = open."""
    return (1.0 - opening / GRIPPER_OPEN) * STROKE


def metres_to_opening(metres: float) -> float:
    """Return the opening 0 … 1000 of a position [m]; the driver takes negative ones as open."""
    return (1.0 - min(max(metres, 0.0), STROKE) / STROKE) * GRIPPER_OPEN
