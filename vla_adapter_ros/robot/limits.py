# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The limits that planning keeps."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from vla_adapter_ros.robot.contract import RobotContract


@dataclass(frozen=True)
class Limits:
    """Limits of J joints that move together; arrays of shape (J,)."""

    lower: np.ndarray
    upper: np.ndarray
    velocity: np.ndarray
    acceleration: np.ndarray

    @staticmethod
    def of_arm(contract: RobotContract) -> Limits:
        """Return the limits of the arm joints."""
        return Limits._slice(contract, slice(0, -1))

    @staticmethod
    def of_gripper(contract: RobotContract) -> Limits:
        """Return the limits of the gripper's open fraction."""
        return Limits._slice(contract, slice(-1, None))

    def at_speed(self, share: float) -> Limits:
        """Return limits with this share of the velocities; braking keeps its full force."""
        return replace(self, velocity=self.velocity * share)

    def aimed(self, share: float) -> Limits:
        """Return limits with this share of velocities and accelerations."""
        return replace(
            self, velocity=self.velocity * share, acceleration=self.acceleration * share
        )

    @staticmethod
    def _slice(contract: RobotContract, part: slice) -> Limits:
        return Limits(
            contract.lower[part],
            contract.upper[part],
            contract.max_velocity[part],
            contract.max_acceleration[part],
        )
