# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Turns aims of the hand into joint targets: straight, smooth, within the contract's limits."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from vla_adapter_ros.simulation.arm_simulation import STEP_PERIOD, arm_kinematics, gripper_down
from vla_adapter_ros.simulation.expert.waypoints import Aim

MAX_SPEED = 0.22  # of the tool [m/s]
MAX_ACCELERATION = 1.2  # [m/s²]
BRAKING = 0.8  # of the acceleration is used to brake, so that waypoints are not overshot
MAX_YAW_STEP = 0.12  # [rad] in one step
MAX_JOINT_STEP = 0.085  # [rad] in one step: 85 % of the contract's 1 rad/s
# Change of the joint steps from one step to the next [rad]: 80 % of the contract's 8 rad/s².
MAX_JOINT_STEP_CHANGE = 0.064
GRIPPER_STEP = 0.2  # open fraction in one step: 80 % of the contract's 2.5 / s


@dataclass(frozen=True)
class HandCommand:
    """The last command of the hand.

    Attributes:
        joints: (6,) joint targets [rad].
        position: (3,) tool position [m] of the joints.
        yaw: tool yaw [rad].
        gripper: commanded open fraction.
        velocity: (3,) tool velocity [m/s] of the last step.
        change: (6,) joint change [rad] of the last step.
    """

    joints: np.ndarray
    position: np.ndarray
    yaw: float
    gripper: float
    velocity: np.ndarray
    change: np.ndarray

    def action(self) -> np.ndarray:
        """Return the (7,) action in contract order: joints [rad], gripper open fraction."""
        return np.array([*self.joints, self.gripper])


class HandMotion:
    """Moves the hand towards aims, one control step at a time."""

    def __init__(self) -> None:
        self.kinematics = arm_kinematics()

    def at_rest(self, joints: np.ndarray, gripper: float) -> HandCommand:
        """Return the command of standing still at (6,) joints [rad]."""
        position, rotation = self.kinematics.tool_pose(joints)
        yaw = float(np.arctan2(rotation[1, 0], rotation[0, 0])) % (2 * math.pi)
        return HandCommand(
            np.array(joints, float), position, yaw, gripper, np.zeros(3), np.zeros(6)
        )

    def step(self, command: HandCommand, aim: Aim) -> HandCommand:
        """Return the command one step period later towards `aim`."""
        velocity = _next_velocity(command, aim.position)
        turn = (aim.yaw - command.yaw + math.pi) % (2 * math.pi) - math.pi
        turn = float(np.clip(turn, -MAX_YAW_STEP, MAX_YAW_STEP))
        opening = np.clip(aim.gripper - command.gripper, -GRIPPER_STEP, GRIPPER_STEP)
        scale = 1.0
        for _ in range(4):
            position = command.position + scale * velocity * STEP_PERIOD
            yaw = command.yaw + scale * turn
            joints, _ = self.kinematics.solve(position, gripper_down(yaw), command.joints)
            largest = float(np.abs(joints - command.joints).max())
            if largest <= MAX_JOINT_STEP:
                break
            scale *= 0.95 * MAX_JOINT_STEP / largest
        change = np.clip(
            joints - command.joints,
            np.maximum(command.change - MAX_JOINT_STEP_CHANGE, -MAX_JOINT_STEP),
            np.minimum(command.change + MAX_JOINT_STEP_CHANGE, MAX_JOINT_STEP),
        )
        joints = command.joints + change
        position, rotation = self.kinematics.tool_pose(joints)
        yaw = float(np.arctan2(rotation[1, 0], rotation[0, 0])) % (2 * math.pi)
        gripper = float(command.gripper + opening)
        return HandCommand(joints, position, yaw, gripper, scale * velocity, change)


def _next_velocity(command: HandCommand, target: np.ndarray) -> np.ndarray:
    """Return the velocity (3,) [m/s] of the next step: fast, but able to stop at `target`."""
    path = target - command.position
    distance = float(np.linalg.norm(path))
    if distance < 1e-9:
        wanted = np.zeros(3)
    else:
        speed = min(
            MAX_SPEED,
            math.sqrt(2.0 * BRAKING * MAX_ACCELERATION * distance),
            distance / STEP_PERIOD,
        )
        wanted = path * (speed / distance)
    change = wanted - command.velocity
    size = float(np.linalg.norm(change))
    limit = MAX_ACCELERATION * STEP_PERIOD
    # Near the target precision comes before smoothness.
    if size > limit and distance > 0.004:
        change *= limit / size
    return command.velocity + change
