# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Random start poses of the arm around the ready pose, gripper down."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from vla_adapter_ros.robot.kinematics import Kinematics
from vla_adapter_ros.simulation.arm_simulation import READY_JOINTS
from vla_adapter_ros.simulation.tool_kinematics import arm_kinematics, gripper_down

READY_TOOL = (0.235, 0.0, 0.13)
MAX_START_YAW = 0.25


@lru_cache(maxsize=1)
def _kinematics() -> Kinematics:
    return arm_kinematics()


def random_start(rng: np.random.Generator, spread: float) -> tuple[float, ...]:
    """Return (6,) joint positions [rad] with the tool within `spread` [m] of the ready pose.

    The height varies by at most 3 cm downward and not upward (the wrist's limit is near), the
    gripper's turn in proportion to the spread. `spread` 0 returns the ready pose.
    """
    draw = rng.uniform(-1.0, 1.0, 4)
    if spread == 0.0:
        return READY_JOINTS
    offset = spread * draw[:3] * (1.0, 1.5, 0.4) - (0.0, 0.0, 0.4 * spread)
    yaw = math.pi + MAX_START_YAW * draw[3] * min(1.0, spread / 0.04)
    joints, _ = _kinematics().solve(
        np.array(READY_TOOL) + offset, gripper_down(yaw), np.array(READY_JOINTS)
    )
    return tuple(float(angle) for angle in joints)
